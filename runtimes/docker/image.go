package docker

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
)

const imageName = "localhost/kwokctl"

// image is one that is made of a binary alone: a layer with the binary, the names it is called by as links to it, and
// the empty cluster directory, from which fresh volumes take owner and mode.
type image struct {
	binary   string
	programs []string
	data     []string // directories in the cluster directory that are volumes of their own
}

// name is that of the image. It follows from the content, so that an image is made once and never mistaken. The linker
// has hashed the binary already; one without its mark is read whole.
func (i image) name() (string, error) {
	hash := sha256.New()
	if id := buildID(i.binary); id != "" {
		fmt.Fprintf(hash, "%q %q %q %q", id, i.programs, i.data, settings())
	} else if err := i.layer(hash); err != nil {
		return "", fmt.Errorf("make image: %w", err)
	}
	return imageName + ":" + hex.EncodeToString(hash.Sum(nil))[:16], nil
}

// buildID is Go's build ID of a program for Linux, of which the last part is a hash of the program, or "".
func buildID(binary string) string {
	const head = 16 // of a note: lengths of name and text, type, "Go" to a multiple of four
	f, err := elf.Open(binary)
	if err != nil {
		return ""
	}
	defer f.Close()
	s := f.Section(".note.go.buildid")
	if s == nil {
		return ""
	}
	note, err := s.Data()
	if err != nil || len(note) < head {
		return ""
	}
	return string(note[head:min(head+int(f.ByteOrder.Uint32(note[4:])), len(note))])
}

// layer writes the file system of the image. The same binary gives the same bytes.
func (i image) layer(w io.Writer) error {
	f, err := os.Open(i.binary)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	dirs := []tar.Header{
		{Typeflag: tar.TypeDir, Name: "bin/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: WorkDir[1:] + "/", Mode: 0o700, Uid: user, Gid: user},
	}
	for _, d := range i.data {
		dirs = append(dirs, tar.Header{Typeflag: tar.TypeDir, Name: WorkDir[1:] + "/" + d + "/", Mode: 0o700, Uid: user, Gid: user})
	}
	for _, h := range append(dirs, tar.Header{Typeflag: tar.TypeReg, Name: "bin/kwokctl", Mode: 0o755, Size: info.Size()}) {
		h.ModTime = time.Unix(0, 0)
		if err := t.WriteHeader(&h); err != nil {
			return err
		}
	}
	if _, err := io.Copy(t, f); err != nil {
		return err
	}
	for _, name := range i.programs {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "kwokctl", Mode: 0o777, ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
	}
	return t.Close()
}

// settings are what an image says besides its layer, in the words that engines take with one.
func settings() []string {
	return []string{
		fmt.Sprintf("USER %d:%d", user, user), "WORKDIR " + WorkDir, `ENTRYPOINT ["/bin/kwokctl"]`, "LABEL " + imageLabel + "=kwokctl",
	}
}

// ensureImage returns the name of the image of this binary, having made it unless the engine has it.
func (r *Runtime) ensureImage(ctx context.Context, e *engine, info system.Info) (string, error) {
	i, err := r.image(info.Architecture)
	if err != nil {
		return "", err
	}
	name, err := r.imageOf(i)
	if err != nil {
		return "", err
	}
	if _, err = e.ImageInspect(ctx, name); err == nil || !missing(err) {
		return name, wrap("look for image", err)
	}
	began := time.Now()
	in, out := io.Pipe()
	go func() { out.CloseWithError(i.layer(out)) }()
	// As a bare layer it is stored as it comes; an archive of an image would be unpacked first.
	answer, err := e.ImageImport(ctx, client.ImageImportSource{Source: in, SourceName: "-"}, name, client.ImageImportOptions{Changes: settings()})
	in.CloseWithError(errors.New("the engine reads no more"))
	if err != nil {
		return "", wrap("load image", err)
	}
	defer answer.Close()
	if err := streamError(answer); err != nil {
		return "", wrap("load image", err)
	}
	r.Log.Debug("image loaded", "image", name, "elapsed", time.Since(began))
	return name, nil
}

// imageOf is the name of an image, for which its binary is read once.
func (r *Runtime) imageOf(i image) (string, error) {
	if name, ok := r.images.Load(i.binary); ok {
		return name.(string), nil
	}
	name, err := i.name()
	if err == nil {
		r.images.Store(i.binary, name)
	}
	return name, err
}

// streamError reads the messages of a long job to the end and returns the error that is among them.
func streamError(in io.Reader) error {
	for dec := json.NewDecoder(in); ; {
		var message struct {
			Error string `json:"error"`
		}
		err := dec.Decode(&message)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case message.Error != "":
			return errors.New(message.Error)
		}
	}
}

// image finds the binary for the engine's processor: this one, or the build for linux that lies beside it.
func (r *Runtime) image(machine string) (image, error) {
	arch := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[machine]
	if arch == "" {
		arch = machine
	}
	self := r.Self
	if self == "" {
		path, err := os.Executable()
		if err != nil {
			return image{}, fmt.Errorf("find own binary: %w", err)
		}
		self = path
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != arch {
		self = filepath.Join(filepath.Dir(self), "kwokctl-linux-"+arch)
		if _, err := os.Stat(self); err != nil {
			return image{}, fmt.Errorf("make image: the engine runs linux/%s; put the build for it at %s", arch, self)
		}
	}
	programs := append([]string{ProbeApplet, DialApplet}, r.Programs...)
	return image{binary: self, programs: programs, data: r.Data}, nil
}

// Place is an engine, wherever it is.
type Place struct {
	engine string
	at     endpoint
}

// Places returns the engines that run the clusters in dirs, and those that the environment points to.
func Places(dirs []string, getenv func(string) string) []Place {
	var all []Place
	add := func(p Place) {
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	for _, dir := range dirs {
		var s state
		if readJSON(filepath.Join(dir, stateFile), &s) == nil {
			add(Place{s.Engine, s.At})
		}
	}
	for _, engine := range []string{Docker, Podman} {
		if at, err := find(engine, getenv); err == nil {
			add(Place{engine, at})
		}
	}
	return all
}

// Purge removes the images that were made of this binary, or of other versions, from an engine. Those that a container
// uses stay; their names are returned.
func (p Place) Purge(ctx context.Context) (used []string, err error) {
	e, err := connect(ctx, state{Engine: p.engine, At: p.at}, patience)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	list, err := e.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("label", imageLabel+"=kwokctl")})
	if err != nil {
		return nil, wrap("list images", err)
	}
	for _, i := range list.Items {
		_, err := e.ImageRemove(ctx, i.ID, client.ImageRemoveOptions{PruneChildren: true})
		switch {
		case err == nil || missing(err):
		case isConflict(err):
			used = append(used, strings.Join(i.RepoTags, " "))
		default:
			return used, wrap("remove image", err)
		}
	}
	return used, nil
}
