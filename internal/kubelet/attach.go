package kubelet

import (
	"context"
	"io"
	"os"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"kwokctl/internal/files"
)

// listener is a log whose new lines are shown to those who attach. What they say is heard by nobody.
type listener string

// AttachContainer copies what is written to the log from now on, until ctx ends.
func (l listener) AttachContainer(ctx context.Context, _, _, _ string, _ io.Reader, out, errs io.WriteCloser, tty bool,
	_ <-chan remotecommand.TerminalSize) error {
	all := &lines{emit: func(e entry) error {
		w := out
		if e.stderr && !tty {
			w = errs
		}
		if w == nil {
			return nil
		}
		_, err := w.Write(e.text)
		return err
	}}
	err := files.Follow(ctx, string(l), func(f *os.File) error { return seekTail(f, 0) }, all, true)
	if ctx.Err() != nil {
		return nil
	}
	return err
}
