package docker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"
)

const (
	hub      = "docker.io"
	hubIndex = "https://index.docker.io/v1/" // what logins to it are kept under
	helpTime = 30 * time.Second              // for a program that may ask the user
)

// login is who the user is to the registry of an image. It is told to the engine, and to nobody else: not to logs, errors
// or files.
type login struct {
	registry string
	header   string // "" when nothing is known
	from     string // the file that says so
	fault    error  // why one that may know could not be asked
}

// authFile is a file that docker login and podman login write.
type authFile struct {
	Auths map[string]struct {
		Auth, IdentityToken, RegistryToken string
	}
	CredHelpers map[string]string
	CredsStore  string
}

// logins are the files that say who the user is, the one that counts most first.
func (r *Runtime) logins() (files []string) {
	config, home := r.Getenv("DOCKER_CONFIG"), r.Getenv("HOME")
	if config == "" && home != "" {
		config = filepath.Join(home, ".docker")
	}
	ofDocker := filepath.Join(config, "config.json")
	if r.Engine != Podman {
		return []string{ofDocker}
	}
	if only := r.Getenv("REGISTRY_AUTH_FILE"); only != "" {
		return []string{only}
	}
	run := r.Getenv("XDG_RUNTIME_DIR")
	if run == "" {
		run = "/run/containers/" + strconv.Itoa(os.Getuid())
	} else {
		run = filepath.Join(run, "containers")
	}
	files = append(files, filepath.Join(run, "auth.json"))
	if own := r.Getenv("XDG_CONFIG_HOME"); own != "" {
		files = append(files, filepath.Join(own, "containers", "auth.json"))
	} else if home != "" {
		files = append(files, filepath.Join(home, ".config", "containers", "auth.json"))
	}
	return append(files, ofDocker)
}

// login finds out who the user is to the registry of an image, as the clients of the engines do.
func (r *Runtime) login(ctx context.Context, image string) login {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return login{fault: err}
	}
	l := login{registry: reference.Domain(named)}
	for _, l.from = range r.logins() {
		var f authFile
		err := readJSON(l.from, &f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var known registry.AuthConfig
		if err == nil {
			known, err = f.find(ctx, named.Name(), l.registry)
		}
		if err != nil && l.fault == nil {
			l.fault = err
		}
		if known == (registry.AuthConfig{}) {
			continue
		}
		if l.header, err = authconfig.Encode(known); err == nil {
			return l
		}
	}
	return l
}

// find looks for the nearest of those that a file has for a repository, or for what is above it.
func (f *authFile) find(ctx context.Context, repository, domain string) (known registry.AuthConfig, err error) {
	helper := f.CredsStore
	for key, name := range f.CredHelpers {
		if place(key) == domain {
			helper = name
		}
	}
	if helper != "" {
		if known, err = ask(ctx, helper, domain); known != (registry.AuthConfig{}) {
			return known, nil
		}
	}
	for at := repository; at != "."; at = path.Dir(at) {
		for key, a := range f.Auths {
			if place(key) != at || a.Auth+a.IdentityToken+a.RegistryToken == "" {
				continue
			}
			plain, wrong := base64.StdEncoding.DecodeString(a.Auth)
			name, password, found := strings.Cut(string(plain), ":")
			if a.Auth != "" && (wrong != nil || !found) {
				return registry.AuthConfig{}, fmt.Errorf("auth of %s is not USER:PASSWORD in base64", key)
			}
			return registry.AuthConfig{ServerAddress: server(domain), Username: name, Password: strings.Trim(password, "\x00"),
				IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}, nil
		}
	}
	return registry.AuthConfig{}, err
}

// place is the registry, or what is below it, that a key in a file is for.
func place(key string) string {
	_, rest, found := strings.Cut(key, "://")
	if !found {
		rest = key
	}
	rest = strings.TrimRight(rest, "/")
	rest = strings.TrimSuffix(strings.TrimSuffix(rest, "/v1"), "/v2")
	if rest == "index.docker.io" || rest == "registry-1.docker.io" {
		return hub
	}
	return rest
}

// server is what a registry is called by those who keep logins.
func server(domain string) string {
	if domain == hub {
		return hubIndex
	}
	return domain
}

// ask asks a program that keeps logins.
func ask(ctx context.Context, helper, domain string) (known registry.AuthConfig, err error) {
	program := "docker-credential-" + helper
	ctx, cancel := context.WithTimeout(ctx, helpTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "get")
	cmd.Stdin, cmd.WaitDelay = strings.NewReader(server(domain)), time.Second
	out, err := cmd.Output()
	if err != nil {
		if strings.Contains(string(out), "credentials not found") {
			return known, nil
		}
		return known, fmt.Errorf("%s get: %w", program, err) // what it says might be a secret
	}
	var said struct{ Username, Secret string }
	if json.Unmarshal(out, &said) != nil {
		return known, fmt.Errorf("%s get: its answer cannot be read", program)
	}
	known = registry.AuthConfig{ServerAddress: server(domain), Username: said.Username, Password: said.Secret}
	if said.Username == "<token>" {
		known.Username, known.Password, known.IdentityToken = "", "", said.Secret
	}
	return known, nil
}

// advise adds what to do to the error of a pull that failed because of who the user is, or is not.
func (l login) advise(engine string, err error) error {
	text := strings.ToLower(fmt.Sprint(err))
	asked := false
	for _, word := range []string{"unauthorized", "no basic auth credentials", "authentication required", "access denied", "access to the resource is denied", "invalid username/password", "403 forbidden"} {
		asked = asked || strings.Contains(text, word)
	}
	what := "log in to it with " + engine + " login " + l.registry
	switch {
	case err == nil || !asked:
		return err
	case l.header != "":
		return fmt.Errorf("%w; registry %s does not let you by what %s says: %s", err, l.registry, l.from, what)
	case l.fault != nil:
		return fmt.Errorf("%w; registry %s asks who you are: %w", err, l.registry, l.fault)
	}
	return fmt.Errorf("%w; registry %s asks who you are: %s", err, l.registry, what)
}
