package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/moby/client"
)

// endpoint is where an engine listens.
type endpoint struct {
	Host string `json:"host"`
	// PEM files, for an engine that listens on TCP with TLS; none when empty. Those of the client may be absent.
	CA   string `json:"ca,omitempty"`
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
	// SkipVerify takes any certificate of the engine; the user asked for it.
	SkipVerify bool `json:"skipVerify,omitempty"`
}

// find tells where the user's engine listens: what the environment says, else the docker command's current context,
// else where engines listen by default.
func find(engine string, getenv func(string) string) (at endpoint, err error) {
	source := "CONTAINER_HOST"
	if engine == Podman {
		at = findPodman(getenv)
	} else if at, source, err = findDocker(getenv); err != nil {
		return at, fmt.Errorf("%s: %w", source, err)
	}
	if at.Host, err = address(at.Host); err != nil {
		return at, fmt.Errorf("%s: %w", source, err)
	}
	return at, nil
}

// findDocker tells also what says so.
func findDocker(getenv func(string) string) (at endpoint, source string, err error) {
	config := getenv("DOCKER_CONFIG")
	if config == "" && getenv("HOME") != "" {
		config = filepath.Join(getenv("HOME"), ".docker")
	}
	if host := getenv("DOCKER_HOST"); host != "" {
		e := endpoint{Host: host}
		certs := getenv("DOCKER_CERT_PATH")
		if verify := getenv("DOCKER_TLS_VERIFY"); verify != "" || certs != "" {
			if certs == "" {
				certs = config
			}
			e.CA, e.Cert, e.Key = filepath.Join(certs, "ca.pem"), filepath.Join(certs, "cert.pem"), filepath.Join(certs, "key.pem")
			e.SkipVerify = verify == ""
		}
		return e, "DOCKER_HOST", nil
	}
	name := getenv("DOCKER_CONTEXT")
	if name == "" {
		var file struct{ CurrentContext string }
		if err := readJSON(filepath.Join(config, "config.json"), &file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return endpoint{}, "docker", err
		}
		name = file.CurrentContext
	}
	if name == "" || name == "default" {
		return endpoint{Host: client.DefaultDockerHost}, "docker", nil
	}
	at, err = readContext(config, name)
	return at, fmt.Sprintf("docker context %q", name), err
}

func findPodman(getenv func(string) string) endpoint {
	if host := getenv("CONTAINER_HOST"); host != "" {
		return endpoint{Host: host}
	}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" && os.Getuid() != 0 {
		return endpoint{Host: "unix://" + filepath.Join(dir, "podman", "podman.sock")}
	}
	return endpoint{Host: "unix:///run/podman/podman.sock"}
}

// contextID is the name of a context's directories.
func contextID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// readContext reads a context as the docker command stores it: below a directory that is the hash of its name.
func readContext(config, name string) (endpoint, error) {
	id := contextID(name)
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	err := readJSON(filepath.Join(config, "contexts", "meta", id, "meta.json"), &meta)
	if errors.Is(err, fs.ErrNotExist) {
		return endpoint{}, fmt.Errorf("there is no such context; there are %s", strings.Join(contexts(config), ", "))
	}
	if err != nil {
		return endpoint{}, err
	}
	at, ok := meta.Endpoints["docker"]
	if !ok || at.Host == "" {
		return endpoint{}, errors.New("it names no engine")
	}
	e := endpoint{Host: at.Host, SkipVerify: at.SkipTLSVerify}
	certs := filepath.Join(config, "contexts", "tls", id, "docker")
	if exists(filepath.Join(certs, "ca.pem")) {
		e.CA = filepath.Join(certs, "ca.pem")
	}
	if cert, key := filepath.Join(certs, "cert.pem"), filepath.Join(certs, "key.pem"); exists(cert) || exists(key) {
		e.Cert, e.Key = cert, key // of which each needs the other
	}
	return e, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// contexts are the names of those there are. The docker command makes default by itself.
func contexts(config string) []string {
	names := []string{"default"}
	files, _ := filepath.Glob(filepath.Join(config, "contexts", "meta", "*", "meta.json"))
	for _, file := range files {
		var meta struct{ Name string }
		if readJSON(file, &meta) == nil && meta.Name != "" {
			names = append(names, meta.Name)
		}
	}
	slices.Sort(names[1:])
	return names
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
