package snapshot

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"kwokctl/internal/files"
)

// A recording is a snapshot in YAML, followed by the changes after it, in order. Each change is a document of this
// kind, which upstream's tools read and write too.
const (
	changeVersion = "action.kwok.x-k8s.io/v1alpha1"
	changeKind    = "ResourcePatch"
)

// The methods of a change.
const (
	methodCreate = "create" // the template is the object
	methodPatch  = "patch"  // a strategic merge patch; for custom kinds a merge patch
	methodDelete = "delete"
)

// change is what happened to one object.
type change struct {
	Resource struct {
		Group    string `json:"group"`
		Version  string `json:"version"`
		Resource string `json:"resource"`
	} `json:"resource"`
	Target struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"target"`
	After    time.Duration   `json:"durationNanosecond"` // since the recording began
	Method   string          `json:"method"`
	Template json.RawMessage `json:"template"`
}

func (c *change) String() string {
	resource := schema.GroupResource{Group: c.Resource.Group, Resource: c.Resource.Resource}
	return fmt.Sprintf("%s of %s %s", c.Method, resource, strings.TrimPrefix(c.Target.Namespace+"/"+c.Target.Name, "/"))
}

// isChange tells whether a document is one, rather than an object.
func isChange(h *head) bool { return h.Kind == changeKind && h.APIVersion == changeVersion }

// document is a change as a Writer takes it.
func (c *change) document(template map[string]any) map[string]any {
	resource := map[string]any{"version": c.Resource.Version, "resource": c.Resource.Resource}
	if c.Resource.Group != "" {
		resource["group"] = c.Resource.Group
	}
	target := map[string]any{"name": c.Target.Name}
	if c.Target.Namespace != "" {
		target["namespace"] = c.Target.Namespace
	}
	d := map[string]any{"apiVersion": changeVersion, "kind": changeKind, "resource": resource, "target": target,
		"durationNanosecond": int64(c.After), "method": c.Method}
	if template != nil {
		d["template"] = template
	}
	return d
}

// Output is a file that grows while it is written: whatever happens, what was flushed stays.
type Output struct {
	io.Writer
	file *os.File // nil: standard output
	zip  *gzip.Writer
}

// Create makes a new file at path, private to the user; the path - is out. A name that ends in .gz is compressed.
func Create(path string, out io.Writer) (*Output, error) {
	if path == "-" {
		return &Output{Writer: out}, nil
	}
	if err := CheckNew(path); err != nil {
		return nil, err
	}
	file, err := files.OpenNew(path)
	if err != nil {
		return nil, err
	}
	o := &Output{Writer: file, file: file}
	if strings.HasSuffix(path, ".gz") || strings.HasSuffix(path, ".tgz") {
		o.zip = gzip.NewWriter(file)
		o.Writer = o.zip
	}
	return o, nil
}

// Flush hands on what was written, so that it can be read.
func (o *Output) Flush() error {
	if o.zip == nil {
		return nil
	}
	return o.zip.Flush()
}

// Close ends the file.
func (o *Output) Close() error {
	var errs []error
	if o.zip != nil {
		errs = append(errs, o.zip.Close())
	}
	if o.file != nil {
		errs = append(errs, o.file.Sync(), o.file.Close())
	}
	return errors.Join(errs...)
}
