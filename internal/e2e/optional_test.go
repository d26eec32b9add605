package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"sigs.k8s.io/yaml"

	"kwokctl/internal/kube"
)

// flagOf returns the value of --name=value among the arguments of this process.
func flagOf(name string) string {
	for _, arg := range os.Args[1:] {
		if value, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			return value
		}
	}
	return ""
}

// jaegerDouble stands in for jaeger: it takes traces, and tells whether it has some of etcd and of kube-apiserver.
func jaegerDouble() int {
	traces, err := net.Listen("tcp", flagOf("collector.otlp.grpc.host-port"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var (
		mu       sync.Mutex
		services = map[string]bool{} // by name, who brought spans
	)
	// It takes any call; of a request it need not know more than the bytes.
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var request emptypb.Empty
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for _, name := range []string{"etcd", "apiserver"} {
			attribute := append([]byte("service.name\x12"), byte(len(name)+2), '\n', byte(len(name))) // and the name, in protobuf
			services[name] = services[name] || bytes.Contains(request.ProtoReflect().GetUnknown(), append(attribute, name...))
		}
		return stream.SendMsg(&emptypb.Empty{})
	}))
	go func() { _ = server.Serve(traces) }()
	fmt.Fprintln(os.Stderr, http.ListenAndServe(flagOf("query.http-server.host-port"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprint(w, slices.Sorted(maps.Keys(services)), services["etcd"] && services["apiserver"])
	})))
	return 1
}

// prometheusDouble stands in for prometheus: when asked, it collects from all targets of its configuration, and tells
// which answered.
func prometheusDouble() int {
	var config struct {
		Jobs []struct {
			Name    string                       `json:"job_name"`
			Scheme  string                       `json:"scheme"`
			Targets []struct{ Targets []string } `json:"static_configs"`
			Asks    []struct{ URL string }       `json:"http_sd_configs"`
			TLS     struct {
				CA   string `json:"ca_file"`
				Cert string `json:"cert_file"`
				Key  string `json:"key_file"`
			} `json:"tls_config"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(read(flagOf("config.file"))), &config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	mux := http.NewServeMux()
	ok := func(http.ResponseWriter, *http.Request) {}
	mux.HandleFunc("/-/ready", ok)
	mux.HandleFunc("/-/healthy", ok)
	mux.HandleFunc("/metrics", ok)
	mux.HandleFunc("/targets", func(w http.ResponseWriter, _ *http.Request) {
		for _, job := range config.Jobs {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM([]byte(read(job.TLS.CA)))
			secure := &tls.Config{RootCAs: pool}
			if pair, err := tls.LoadX509KeyPair(job.TLS.Cert, job.TLS.Key); err == nil {
				secure.Certificates = []tls.Certificate{pair}
			}
			client := http.Client{Transport: &http.Transport{TLSClientConfig: secure}, Timeout: 10 * time.Second}
			var url string
			if len(job.Asks) > 0 {
				url = job.Asks[0].URL
			} else {
				url = job.Scheme + "://" + job.Targets[0].Targets[0] + "/metrics"
			}
			resp, err := client.Get(url)
			if err != nil {
				fmt.Fprintf(w, "%s %v\n", job.Name, err)
				continue
			}
			resp.Body.Close()
			fmt.Fprintf(w, "%s %d\n", job.Name, resp.StatusCode)
		}
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(flagOf("web.listen-address"), mux))
	return 1
}

// metricsDouble stands in for metrics-server: asked for the metrics of nodes, it tells what it may not do, and who asks.
func metricsDouble() int {
	mux := http.NewServeMux()
	ok := func(http.ResponseWriter, *http.Request) {}
	mux.HandleFunc("/livez", ok)
	mux.HandleFunc("/metrics", ok)
	mux.HandleFunc("/apis/metrics.k8s.io/v1beta1", func(w http.ResponseWriter, _ *http.Request) { // else it is taken for dead
		fmt.Fprint(w, `{"apiVersion":"v1","kind":"APIResourceList","groupVersion":"metrics.k8s.io/v1beta1","resources":[]}`)
	})
	mux.HandleFunc("/apis/metrics.k8s.io/v1beta1/nodes", func(w http.ResponseWriter, r *http.Request) {
		config, err := kube.Connect(flagOf("kubeconfig"), "")
		if err != nil {
			fmt.Fprintln(w, err)
			return
		}
		client, err := kube.New(config)
		if err != nil {
			fmt.Fprintln(w, err)
			return
		}
		const review = `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"a","nonResourceAttributes":{"path":"/","verb":"get"}}}`
		for _, q := range []kube.Request{
			{Method: http.MethodGet, Path: "/api/v1/nodes"}, {Method: http.MethodGet, Path: "/api/v1/pods"},
			{Method: http.MethodGet, Path: "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"},
			{Method: http.MethodPost, Path: "/apis/authorization.k8s.io/v1/subjectaccessreviews", Body: []byte(review)},
		} {
			if _, err := client.Do(r.Context(), q); err != nil {
				fmt.Fprintln(w, err)
			}
		}
		fmt.Fprintln(w, r.Header.Get("X-Remote-User"), "asks")
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServeTLS(flagOf("bind-address")+":"+flagOf("secure-port"), flagOf("tls-cert-file"), flagOf("tls-private-key-file"), mux))
	return 1
}

// TestOptionalComponents runs programs of the user's as jaeger, prometheus and metrics-server: traces come to the
// first, the second can collect from all, and the last is part of the API and may do what it must.
func TestOptionalComponents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	jaeger, prometheus := freePort(t), freePort(t)
	w.env = append(w.env, "KWOK_JAEGER_BINARY="+self(t))
	w.create("kwok", "--jaeger-port", jaeger, "--prometheus-port", prometheus, "--prometheus-binary", self(t),
		"--enable", "metrics-server", "--metrics-server-binary", self(t))
	w.eventually(30*time.Second, "metrics-server is part of the API", func() bool {
		r := w.run("kubectl", "get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes")
		return r.stdout == "kwok-admin asks\n"
	})
	w.kubectl("kwok", "create", "configmap", "traced")
	if _, got := fetch(t, "http://127.0.0.1:"+prometheus+"/targets"); got != "prometheus 200\netcd 200\nkube-apiserver 200\nkube-controller-manager 200\nkube-scheduler 200\nkwok-controller 200\nkwok-controller-metrics-discovery 200\nmetrics-server 200\n" {
		t.Errorf("prometheus collects:\n%s", got)
	}
	w.eventually(30*time.Second, "etcd and kube-apiserver bring traces", func() bool {
		_, got := fetch(t, "http://127.0.0.1:"+jaeger+"/")
		return strings.HasSuffix(got, "true")
	})
	if got := w.components("kwok")["prometheus"].State; got != "Ready" {
		t.Errorf("prometheus is %s", got)
	}
	if r := w.run("stop", "cluster"); r.code != 0 || strings.Contains(r.stderr, "killed") {
		t.Errorf("stop: %d %s", r.code, r.stderr)
	}
	var d net.Dialer
	if conn, err := d.DialContext(context.Background(), "tcp", "127.0.0.1:"+prometheus); err == nil {
		conn.Close()
		t.Error("prometheus outlives the cluster")
	}
}
