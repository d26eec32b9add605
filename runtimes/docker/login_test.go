package docker

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/pkg/authconfig"
)

func auth(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// TestLogin looks for who the user is to a registry, in files as the engines' clients write them.
func TestLogin(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	for name, script := range map[string]string{
		"kept":   `read -r at; printf '{"ServerURL":"%s","Username":"kept-%s","Secret":"s"}' "$at" "$at"`,
		"token":  `echo '{"Username":"<token>","Secret":"s"}'`,
		"none":   `echo 'credentials not found in native keychain'; exit 1`,
		"broken": `echo secret; echo secret >&2; exit 1`,
		"odd":    `echo secret`,
	} {
		if err := os.WriteFile(filepath.Join(bin, "docker-credential-"+name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	entry := func(key, user string) string { return fmt.Sprintf(`%q:{"auth":%q}`, key, auth(user, "s:s")) }
	for _, tt := range []struct{ image, docker, podman, want string }{
		{"reg:5000/a/b:1", `{"auths":{` + entry("reg:5000", "me") + `,` + entry("reg.io", "other") + `}}`, "", "me@reg:5000 s:s"},
		{"reg.io/a/b", `{"auths":{` + entry("https://reg.io/v2/", "me") + `}}`, "", "me@reg.io s:s"},
		{"reg.io/a/b", `{"auths":{` + entry("reg.io/a/b", "near") + `,` + entry("reg.io", "far") + `}}`, "", "near@reg.io s:s"},
		{"b", `{"auths":{` + entry("https://index.docker.io/v1/", "me") + `}}`, "", "me@" + hubIndex + " s:s"},
		{"b", `{"auths":{` + entry("docker.io", "me") + `}}`, "", "me@" + hubIndex + " s:s"},
		{"reg.io/a", `{"auths":{"reg.io":{"auth":"` + auth("me", "") + `","identitytoken":"t"}}}`, "", "me@reg.io  token t"},
		{"reg.io/a", `{"credHelpers":{"reg.io":"kept"},"credsStore":"broken","auths":{` + entry("reg.io", "me") + `}}`, "", "kept-reg.io@reg.io s"},
		{"b", `{"credsStore":"kept"}`, "", "kept-" + hubIndex + "@" + hubIndex + " s"},
		{"reg.io/a", `{"credsStore":"token"}`, "", "@reg.io  token s"},
		{"reg.io/a", `{"credsStore":"none","auths":{` + entry("reg.io", "me") + `}}`, "", "me@reg.io s:s"},
		{"reg.io/a", `{"credsStore":"none","auths":{"reg.io":{}}}`, "", "nobody"},
		{"reg.io/a", `{"auths":{` + entry("other", "me") + `}}`, "", "nobody"},
		{"reg.io/a", ``, "", "nobody"},
		{"reg.io/a", `{"credsStore":"broken"}`, "", "docker-credential-broken get: exit status 1"},
		{"reg.io/a", `{"credsStore":"odd"}`, "", "docker-credential-odd get: its answer cannot be read"},
		{"reg.io/a", `{"credsStore":"absent"}`, "", "executable file not found"},
		{"reg.io/a", `{"auths":{"reg.io":{"auth":"c2VjcmV0"}}}`, "", "auth of reg.io is not USER:PASSWORD in base64"},
		{"reg.io/a", `{"auths":{"reg.io":{"auth":"secret!"}}}`, "", "auth of reg.io is not USER:PASSWORD in base64"},
		{"reg.io/a", `{`, "", "config.json"},
		{"reg.io/a", `{"auths":{` + entry("reg.io", "docker") + `}}`, `{"auths":{` + entry("reg.io", "podman") + `}}`, "podman@reg.io s:s"},
		{"reg.io/a", `{"auths":{` + entry("reg.io", "docker") + `}}`, `{}`, "docker@reg.io s:s"},
	} {
		home, engine := t.TempDir(), Docker
		if tt.docker != "" {
			put(t, home, ".docker/config.json", tt.docker)
		}
		if tt.podman != "" {
			put(t, home, "run/containers/auth.json", tt.podman)
			engine = Podman
		}
		l := New(Options{Engine: engine, Getenv: env("HOME="+home, "XDG_RUNTIME_DIR="+home+"/run")}).login(t.Context(), tt.image)
		got := "nobody"
		if l.header != "" {
			c, err := authconfig.Decode(l.header)
			if err != nil {
				t.Fatal(err)
			}
			if got = c.Username + "@" + c.ServerAddress + " " + c.Password; c.IdentityToken != "" {
				got += " token " + c.IdentityToken
			}
		} else if l.fault != nil {
			got = l.fault.Error()
		}
		if got != tt.want && (l.fault == nil || !strings.Contains(got, tt.want)) || l.fault != nil && strings.Contains(got, "secret") {
			t.Errorf("%s by %s and %s: %q, want %q", tt.image, tt.docker, tt.podman, got, tt.want)
		}
	}
	only := put(t, t.TempDir(), "only.json", `{"auths":{`+entry("reg.io", "me")+`}}`)
	if l := New(Options{Engine: Podman, Getenv: env("REGISTRY_AUTH_FILE=" + only)}).login(t.Context(), "reg.io/a"); l.header == "" || l.from != only {
		t.Errorf("REGISTRY_AUTH_FILE: %+v", l)
	}
}

// TestPullAsSomebody has an engine hand on what a registry says to who the user is. No line and no log tells a password.
func TestPullAsSomebody(t *testing.T) {
	const password = "open-sesame"
	pulled := false
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(req.URL.Path, "/images/create"):
			c, err := authconfig.Decode(req.Header.Get("X-Registry-Auth"))
			switch {
			case err == nil && c.Password == password:
				pulled = true
			case c.Password == "":
				w.WriteHeader(http.StatusInternalServerError)
				_, _ = io.WriteString(w, `{"message":"Head \"https://reg.io/v2/\": no basic auth credentials"}`)
			default:
				_, _ = io.WriteString(w, `{"error":"unauthorized: incorrect username or password"}`)
			}
		case strings.HasSuffix(req.URL.Path, "/json") && !pulled:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"message":"No such image"}`)
		default:
			_ = json.NewEncoder(w).Encode(map[string]string{"Id": "x"})
		}
	}))
	defer engine.Close()
	for config, want := range map[string]string{
		`{}`:                      `pull reg.io/a: Head "https://reg.io/v2/": no basic auth credentials; registry reg.io asks who you are: log in to it with docker login reg.io`,
		`{"credsStore":"absent"}`: "registry reg.io asks who you are: docker-credential-absent get: exec: ",
		`{"auths":{"reg.io":{"auth":"` + auth("me", "stale") + `"}}}`:  "pull reg.io/a: unauthorized: incorrect username or password; registry reg.io does not let you by what HOME/.docker/config.json says: log in",
		`{"auths":{"reg.io":{"auth":"` + auth("me", password) + `"}}}`: "",
	} {
		home := t.TempDir()
		put(t, home, ".docker/config.json", config)
		var log bytes.Buffer
		pulled = false
		r := New(Options{Dir: t.TempDir(), Engine: Docker, Getenv: env("HOME="+home, "DOCKER_HOST=tcp://"+engine.Listener.Addr().String()),
			Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		err := r.Pull(t.Context(), "reg.io/a", func(int64, int64) {})
		got := strings.ReplaceAll(fmt.Sprint(err), home, "HOME")
		if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(got, want) || strings.Contains(got, "\n")) {
			t.Errorf("%s: %v; want one line with %q", config, err, want)
		}
		for _, secret := range []string{password, "stale", auth("me", password), auth("me", "stale")} {
			if strings.Contains(got+log.String(), secret) {
				t.Errorf("%s: %q is told: %s\n%s", config, secret, got, &log)
			}
		}
	}
}
