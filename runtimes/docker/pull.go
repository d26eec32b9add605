package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/client"

	"kwokctl/runtimes"
)

// CheckImage tells whether text can be the name of an image.
func CheckImage(text string) error {
	if _, err := reference.ParseNormalizedNamed(text); err != nil {
		return fmt.Errorf("%q: want a name such as registry.example/name:tag: %w", text, err)
	}
	return nil
}

// Pull makes sure that the engine has an image of others: what it has is used, else it is asked to pull. progress is
// told how many bytes have come and are to come, as far as that is known. Nothing else is made.
func (r *Runtime) Pull(ctx context.Context, image string, progress func(done, total int64)) error {
	e, err := r.open(ctx)
	if err == nil && e == nil {
		e, err = r.choose(ctx)
	}
	if err != nil {
		return err
	}
	defer e.Close()
	_, err = r.pull(ctx, e, image, progress)
	return ended(ctx, err)
}

// silence is how long a registry may let us wait for the next sign that something goes on.
func (r *Runtime) silence() time.Duration { return 6 * r.Patience }

// pull returns what an image runs by itself, having pulled it unless the engine has it.
func (r *Runtime) pull(ctx context.Context, e *engine, image string, progress func(done, total int64)) (entrypoint []string, err error) {
	found, err := e.ImageInspect(ctx, image)
	if missing(err) {
		r.Log.Debug("pulling", "image", image)
		if err := r.download(ctx, e, image, progress); err != nil {
			return nil, wrap("pull "+image, err)
		}
		found, err = e.ImageInspect(ctx, image)
	}
	if err != nil {
		return nil, wrap("look for image "+image, err)
	}
	if found.Config == nil {
		return nil, nil
	}
	return found.Config.Entrypoint, nil
}

func (r *Runtime) download(ctx context.Context, e *engine, image string, progress func(done, total int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := fmt.Errorf("nothing came for %s", r.silence())
	timer := time.AfterFunc(r.silence(), func() { cancel(silent) })
	defer timer.Stop()
	who := r.login(ctx, image)
	answer, err := e.ImagePull(ctx, image, client.ImagePullOptions{RegistryAuth: who.header})
	if err == nil {
		defer answer.Close()
		err = follow(answer, func(done, total int64) {
			timer.Reset(r.silence())
			progress(done, total)
		})
	}
	if err != nil && errors.Is(context.Cause(ctx), silent) {
		return silent
	}
	return who.advise(r.Engine, err)
}

// follow reads the messages of a pull to the end, and returns the error that is among them. It tells of each step that
// is one ahead, which to wait for another try is not.
func follow(in io.Reader, progress func(done, total int64)) error {
	type amount struct{ Current, Total int64 }
	layers, said := map[string]amount{}, map[string]string{}
	for dec := json.NewDecoder(in); ; {
		var m struct {
			ID, Status, Error string
			ProgressDetail    amount
		}
		err := dec.Decode(&m)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case m.Error != "":
			return errors.New(m.Error)
		case strings.HasPrefix(m.Status, "Retrying"):
			continue
		}
		if m.Status == "Downloading" {
			layers[m.ID] = m.ProgressDetail
		}
		step := fmt.Sprint(m.Status, m.ProgressDetail.Current)
		if said[m.ID] == step {
			continue
		}
		said[m.ID] = step
		var sum amount
		for _, l := range layers {
			sum.Current, sum.Total = sum.Current+l.Current, sum.Total+l.Total
		}
		progress(sum.Current, sum.Total)
	}
}

// foreign is an image of others, on the engine.
type foreign map[string][]string // entrypoint by name

// foreigns makes sure of the images of others that specs want.
func (r *Runtime) foreigns(ctx context.Context, e *engine, specs []runtimes.Spec) (foreign, error) {
	all := foreign{}
	for _, s := range specs {
		if _, ok := all[s.Image]; ok || s.Image == "" {
			continue
		}
		entrypoint, err := r.pull(ctx, e, s.Image, func(int64, int64) {})
		if err != nil {
			return nil, err
		}
		all[s.Image] = entrypoint
	}
	return all, nil
}

// wrapper is the entrypoint of Kubernetes' own images. It runs what its arguments say, and brings nothing here.
const wrapper = "/go-runner"

// entrypoint is what a container runs, in front of the arguments; empty for what the image says.
func (f foreign) entrypoint(s runtimes.Spec) []string {
	own := f[s.Image]
	switch {
	case s.Image == "":
		return []string{"/bin/" + s.Name}
	case len(s.Command) > 0:
		return s.Command
	case s.Program != "" && (len(own) == 0 || slices.Equal(own, []string{wrapper})):
		return []string{s.Program}
	}
	return own
}
