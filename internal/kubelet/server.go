package kubelet

import (
	"fmt"
	"log/slog"
	"net/http"
)

// Server answers for all nodes what kubelets answer for theirs: logs, exec, attach and port-forward.
type Server struct {
	Rules *Rules
	Off   bool // it refuses all of that
	Log   *slog.Logger
}

// Register adds the paths of a kubelet. Who may ask for them is for Guard to say.
func (s *Server) Register(mux *http.ServeMux) {
	of := map[string]http.HandlerFunc{"GET /containerLogs/{namespace}/{pod}/{container}": s.containerLogs}
	for _, method := range []string{"GET ", "POST "} {
		of[method+"/exec/{namespace}/{pod}/{container}"] = s.exec
		of[method+"/exec/{namespace}/{pod}/{uid}/{container}"] = s.exec
		of[method+"/attach/{namespace}/{pod}/{container}"] = s.attach
		of[method+"/attach/{namespace}/{pod}/{uid}/{container}"] = s.attach
		of[method+"/portForward/{namespace}/{pod}"] = s.portForward
		of[method+"/portForward/{namespace}/{pod}/{uid}"] = s.portForward
	}
	for path, h := range of {
		if s.Off {
			h = func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "turned off by enableDebuggingHandlers: false", http.StatusMethodNotAllowed)
			}
		}
		mux.HandleFunc(path, h)
	}
}

// target is what a request is about.
type target struct{ namespace, pod, container string }

func place(r *http.Request) target {
	return target{r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")}
}

func (t target) String() string {
	if t.container == "" {
		return fmt.Sprintf("pod %s/%s", t.namespace, t.pod)
	}
	return fmt.Sprintf("container %s of pod %s/%s", t.container, t.namespace, t.pod)
}

// nothing says that no object of a kind is for the target.
func (t target) nothing(kind string) string {
	return fmt.Sprintf("no %s or Cluster%s is for %s, which is simulated; see docs/controller.md", kind, kind, t)
}
