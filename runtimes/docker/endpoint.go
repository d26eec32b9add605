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

	"github.com/moby/moby/client"
)

// endpoint is where an engine listens.
type endpoint struct {
	Host string `json:"host"`
	// PEM files, for an engine that listens on TCP with TLS; none when empty.
	CA   string `json:"ca,omitempty"`
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
	// SkipVerify takes any certificate of the engine; the user asked for it.
	SkipVerify bool `json:"skipVerify,omitempty"`
}

// find tells where the user's engine listens: what the environment says, else the docker command's current context,
// else where engines listen by default.
func find(engine string, getenv func(string) string) (endpoint, error) {
	if engine == Podman {
		return findPodman(getenv), nil
	}
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
		return e, nil
	}
	name := getenv("DOCKER_CONTEXT")
	if name == "" {
		var file struct{ CurrentContext string }
		if err := readJSON(filepath.Join(config, "config.json"), &file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return endpoint{}, err
		}
		name = file.CurrentContext
	}
	if name == "" || name == "default" {
		return endpoint{Host: client.DefaultDockerHost}, nil
	}
	return readContext(config, name)
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
	if err := readJSON(filepath.Join(config, "contexts", "meta", id, "meta.json"), &meta); err != nil {
		return endpoint{}, fmt.Errorf("docker context %q: %w", name, err)
	}
	at, ok := meta.Endpoints["docker"]
	if !ok || at.Host == "" {
		return endpoint{}, fmt.Errorf("docker context %q names no engine", name)
	}
	e := endpoint{Host: at.Host, SkipVerify: at.SkipTLSVerify}
	certs := filepath.Join(config, "contexts", "tls", id, "docker")
	for file, into := range map[string]*string{"ca.pem": &e.CA, "cert.pem": &e.Cert, "key.pem": &e.Key} {
		if _, err := os.Stat(filepath.Join(certs, file)); err == nil {
			*into = filepath.Join(certs, file)
		}
	}
	return e, nil
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
