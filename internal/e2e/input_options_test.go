package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	configHead = "apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: KwokctlConfiguration\n"
	objectHead = "apiVersion: kwok.x-k8s.io/v1alpha1\n"
	aStage     = objectHead + "kind: Stage\nmetadata: {name: s}\nspec: {resourceRef: {kind: Pod}, selector: {}, "
	kwokHead   = "apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: KwokConfiguration\noptions:\n  "
)

// TestMisuseOfOptions asks for clusters with wrong options: as flags, in the environment and in files. Each is refused
// at once, in one line that says which, and writes nothing.
func TestMisuseOfOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const scheduler = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
	for name, text := range map[string]string{
		"text":          "no program",
		"sched-kind":    "apiVersion: v1\nkind: Pod\n",
		"sched-version": "apiVersion: kubescheduler.config.k8s.io/v1beta1\nkind: KubeSchedulerConfiguration\n",
		"sched-field":   scheduler + "profils: []\n",
		"sched-value":   scheduler + "parallelism: -1\n",
		"sched-twice":   scheduler + "profiles:\n- schedulerName: a\n- schedulerName: a\n",
		"sched-empty":   "",
		"stage.yml": "apiVersion: kwok.x-k8s.io/v1alpha1\nkind: Stage\nmetadata: {name: broken}\n" +
			"spec: {resourceRef: {kind: Pod}, selector: {matchExpressions: [{key: '.a[', operator: Exists}]}}\n",
		"template.yml":      "apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: KwokctlResource\nmetadata: {name: broken}\ntemplate: '{{ .a '\n",
		"pool.yml":          "apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: NodePool\nmetadata: {name: gpu}\nreplicas: -3\n",
		"field.yml":         configHead + "options:\n  kubeApiserverPrt: 1\n",
		"case.yml":          configHead + "options:\n  etcdport: 1\n",
		"nested.yml":        configHead + "componentsPatches:\n- name: etcd\n  extraArg: []\n",
		"kindd.yml":         "apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: KwokctlConfiguraton\n",
		"bool.yml":          configHead + "options: {kubeAdmission: maybe}\n",
		"list.yml":          configHead + "options:\n  enable: kube-scheduler\n",
		"lease.yml":         configHead + "options:\n  nodeLeaseDurationSeconds: -4\n",
		"lease-half.yml":    configHead + "options:\n  nodeLeaseDurationSeconds: 1.5\n",
		"lots.yml":          configHead + "options:\n  nodeLeaseDurationSeconds: 2000000000\n",
		"period.yml":        configHead + "options:\n  nodeStatusUpdateFrequencyMilliseconds: -1\n",
		"runtimes.yml":      configHead + "options:\n  runtimes: [lima]\n",
		"bind.yml":          configHead + "options:\n  bindAddress: 10.1.2.3\n",
		"sans.yml":          configHead + "options:\n  kubeApiserverCertSANs: ['a b']\n",
		"patch-type.yml":    configHead + "componentsPatches:\n- name: etcd\n  extraVolumes: [{name: v, hostPath: /tmp, mountPath: /b, pathType: Bogus}]\n",
		"peer.yml":          configHead + "options:\n  etcdPeerPort: 2380\n",
		"insecure.yml":      configHead + "options:\n  insecureKubeconfig: true\n",
		"version.yml":       configHead + "options:\n  kubeVersion: v1.20.0\n",
		"patch.yml":         configHead + "componentsPatches:\n- name: kube-schedular\n",
		"patch-key.yml":     configHead + "componentsPatches:\n- name: etcd\n  extraArgs: [{key: 'a=b', value: c}]\n",
		"patch-none.yml":    configHead + "componentsPatches:\n- name: etcd\n  extraArgs: [{value: c}]\n",
		"patch-env.yml":     configHead + "componentsPatches:\n- name: etcd\n  extraEnvs: [{name: 'a=b'}]\n",
		"patch-vol.yml":     configHead + "componentsPatches:\n- name: etcd\n  extraVolumes: [{name: v, hostPath: /a, mountPath: /b}]\n",
		"user-own.yml":      configHead + "components:\n- {name: etcd, binary: /bin/true}\n",
		"user-name.yml":     configHead + "components:\n- {name: ../x, binary: /bin/true}\n",
		"user-ours.yml":     configHead + "components:\n- {name: supervisor, binary: /bin/true}\n",
		"user-none.yml":     configHead + "components:\n- {name: x, image: busybox}\n",
		"user-lost.yml":     configHead + "components:\n- {name: x, binary: /no/such/program}\n",
		"user-path.yml":     configHead + "components:\n- {name: x, command: [no-such-program-anywhere]}\n",
		"user-link.yml":     configHead + "components:\n- {name: x, binary: /bin/true, links: [nobody]}\n",
		"user-loop.yml":     configHead + "components:\n- {name: x, binary: /bin/true, links: [z]}\n- {name: z, binary: /bin/true, links: [x]}\n",
		"user-user.yml":     configHead + "components:\n- {name: x, binary: /bin/true, user: nobody}\n",
		"user-dir.yml":      configHead + "components:\n- {name: x, binary: /bin/true, workDir: /tmp}\n",
		"user-manifest.yml": configHead + "components:\n- {name: x, binary: /bin/true, manifestContents: ['foo: [bar']}\n",
		"kwok-ip.yml":       kwokHead + "nodeIP: 10.0.0.300\n",
		"kwok-address.yml":  kwokHead + "serverAddress: localhost\n",
		"kwok-cidr.yml":     kwokHead + "cidr: 10.0.0.0\n",
		"kwok-cert.yml":     kwokHead + "tlsCertFile: nowhere.crt\n  tlsPrivateKeyFile: nowhere.key\n",
		"kwok-pem.yml":      kwokHead + "tlsCertFile: text\n  tlsPrivateKeyFile: text\n",
		"kwok-half.yml":     kwokHead + "tlsPrivateKeyFile: text\n",
		"kwok-ca.yml":       kwokHead + "clientCAFile: text\n",
		"forward.yml":       objectHead + "kind: ClusterPortForward\nmetadata: {name: x}\nspec: {forwards: [{ports: [70000]}]}\n",
		"forward-to.yml":    objectHead + "kind: PortForward\nmetadata: {name: x}\nspec: {forwards: [{target: {address: localhost, port: -1}}]}\n",
		"delay.yml":         aStage + "delay: {durationMilliseconds: -5}}\n",
		"jitter.yml":        aStage + "delay: {durationMilliseconds: 5, jitterDurationMilliseconds: -1}}\n",
		"twice.yml":         aStage + "steps: []}\n---\n" + aStage + "steps: []}\n",
		"user-port.yml":     configHead + "components:\n- {name: x, binary: /bin/true, ports: [{port: 70000}]}\n",
	} {
		write(t, filepath.Join(w.home, name), text)
	}
	if err := os.Mkdir(filepath.Join(w.home, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(w.home, "broken"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.home, "broken", "kustomization.yaml"), "resources: [nowhere.yaml]\n")
	before, env := tree(w.home), w.env
	for _, tt := range []struct{ env, args, words string }{
		// Environment.
		{"KWOK_KUBE_APISERVER_PORT=x", "", `KWOK_KUBE_APISERVER_PORT="x"|65535`},
		{"KWOK_KUBE_APISERVER_PORT=70000", "", `KWOK_KUBE_APISERVER_PORT="70000"|65535`},
		{"KWOK_ETCD_PORT=-1", "", `KWOK_ETCD_PORT="-1"|65535`},
		{"KWOK_ETCD_PORT=12 34", "", `KWOK_ETCD_PORT="12 34"|65535`},
		{"KWOK_SECURE_PORT=perhaps", "", `KWOK_SECURE_PORT="perhaps"|true and false`},
		{"KWOK_SECURE_PORT=false", "", "secure-port false|insecure-port"},
		{"KWOK_KUBE_ADMISSION=no", "", `KWOK_KUBE_ADMISSION="no"|true and false`},
		{"KWOK_KUBE_AUTHORIZATION=2", "", `KWOK_KUBE_AUTHORIZATION="2"|true and false`},
		{"KWOK_QUIET_PULL=ja", "", `KWOK_QUIET_PULL="ja"|true and false`},
		{"KWOK_RUNTIME=vmware", "", `"vmware"|binary`},
		{"KWOK_KUBE_VERSION=banana", "", "banana"},
		{"KWOK_ETCD_VERSION=2.0", "", "etcdVersion 2.0"},
		{"KWOK_KUBE_FEATURE_GATES=X", "", `kube-feature-gates|"X"`},
		{"KWOK_KUBE_RUNTIME_CONFIG=api/all=perhaps", "", `api/all=perhaps|api/alpha=true`},
		{"KWOK_KUBE_SCHEDULER_CONFIG=nowhere", "", "kube-scheduler-config|nowhere"},
		{"KWOK_KUBE_SCHEDULER_BINARY=/no/such/program", "", "kube-scheduler|/no/such/program"},
		{"KWOK_CONTROLLER_BINARY=/", "", "kwok-controller|/|regular file"},
		// Flags.
		{"", "--heartbeat-factor|-1", "heartbeat-factor|-1|from 0 to 2147483647"},
		{"", "--heartbeat-factor|fast", `heartbeat-factor|"fast"`},
		{"", "--heartbeat-factor|NaN", "heartbeat-factor|NaN"},
		{"", "--heartbeat-factor|1e300", "heartbeat-factor"},
		{"", "--node-lease-duration-seconds|4.5", "node-lease-duration-seconds|4.5"},
		{"", "--etcd-prefix|registry", `"registry"|/registry`},
		{"", "--etcd-prefix|", `""|/registry`},
		{"", "--etcd-prefix|/a/../b", `"/a/../b"|/registry`},
		{"", "--etcd-prefix|/", `"/"|/registry`},
		{"", "--etcd-quota-backend-size|huge", `"huge"|8Gi`},
		{"", "--etcd-quota-backend-size|-1Gi", `"-1Gi"|8Gi`},
		{"", "--etcd-quota-backend-size|0", `"0"|8Gi`},
		{"", "--etcd-quota-backend-size|1", `"1"|16Mi`},
		{"", "--etcd-quota-backend-size|1e30", `"1e30"|1Pi`},
		{"", "--etcd-quota-backend-size|99999999Ei", `"99999999Ei"|8Gi`},
		{"", "--secure-port=false", "secure-port false"},
		{"", "--kube-authorization=maybe", "kube-authorization|maybe"},
		{"", "--kube-feature-gates|NoSuchGate=true", "NoSuchGate"},
		{"", "--kube-feature-gates|=true", `"=true"`},
		{"", "--kube-feature-gates|AllAlpha=yes", `"AllAlpha=yes"`},
		{"", "--kube-runtime-config|api/all", `"api/all"`},
		{"", "--kube-runtime-config|nosuch.k8s.io/v1=true", "kube-runtime-config|nosuch.k8s.io"},
		{"", "--kube-runtime-config|apps/v9=true", "kube-runtime-config|apps/v9"},
		{"", "--kube-version|9.99.0", "9.99.0|1.36"},
		{"", "--kubeconfig|text/config", "text/config|not a directory"},
		{"", "--kube-scheduler-config|sched-kind", "sched-kind|Pod"},
		{"", "--kube-scheduler-config|sched-version", "sched-version|v1beta1"},
		{"", "--kube-scheduler-config|sched-field", `sched-field|"profils"`},
		{"", "--kube-scheduler-config|sched-value", "sched-value|parallelism"},
		{"", "--kube-scheduler-config|sched-twice", "sched-twice|schedulerName"},
		{"", "--kube-scheduler-config|sched-empty", "sched-empty"},
		{"", "--kube-scheduler-config|empty", "empty"},
		{"", "--kube-scheduler-binary|text", "text|executable"},
		{"", "--kube-scheduler-binary|empty", "empty|regular file"},
		{"", "--etcd-binary|http://example.com/etcd", "http://example.com/etcd"},
		{"", "--enable|prometheus", "prometheus is not embedded|--prometheus-binary"},
		{"", "--prometheus-port|9090", "prometheus is not embedded|--prometheus-binary"},
		{"", "--jaeger-port|16686", "jaeger is not embedded|--jaeger-binary"},
		{"", "--jaeger-port|16686|--jaeger-binary|text", "jaeger|text|executable"},
		{"", "--kube-scheduler-port|7001|--kube-apiserver-insecure-port|7001", "7001|kube-scheduler|kube-apiserver-insecure-proxy"},
		{"", "--enable-metrics-server", "metrics-server is not embedded|--metrics-server-binary"},
		{"", "--enable|kueueviz", "kueueviz-backend runs in containers only|--runtime docker"},
		{"", "--dashboard-port|8080", "dashboard is not embedded|--dashboard-binary"},
		{"", "--enable|node-readiness-controller", "node-readiness-controller is not embedded|--node-readiness-controller-binary"},
		{"", "--enable|jobset", "jobset is not embedded|--jobset-binary"},
		{"", "--enable|jobset|--jobset-binary|/bin/true|--jobset-manifests|nowhere", "manifests of jobset|nowhere"},
		{"", "--enable|jobset|--jobset-binary|/bin/true|--jobset-manifests|text", "manifests of jobset|text|document 1|no object"},
		{"", "--enable|jobset|--jobset-binary|/bin/true|--jobset-manifests|empty", "manifests of jobset|empty|kustomization"},
		{"", "--enable|jobset|--jobset-binary|/bin/true|--jobset-manifests|stage.yml", "manifests of jobset|controller_manager_config.yaml"},
		{"", "--enable|jobset|--jobset-binary|/bin/true|--jobset-manifests|broken", "manifests of jobset|nowhere.yaml"},
		{"", "--enable|kube-schedular", `"kube-schedular"|did you mean kube-scheduler?`},
		{"", "--extra-args|kube-schedular=v=1", "did you mean kube-scheduler?"},
		{"", "--runtime|kind", `"kind"|binary`},
		{"", "--log-format|xml", `"xml"|text and json`},
		{"", "-v|5x", `"5x"|DEBUG`},
		// Files.
		{"", "-c|", `--config ""|standard input`},
		{"", "-c|template.yml", "broken|template"},
		{"", "-c|pool.yml", "gpu|replicas -3|0 to 10000000"},
		{"", "-c|field.yml", "field.yml:4: options.kubeApiserverPrt: no such field|did you mean kubeApiserverPort?"},
		{"", "-c|stage.yml", "stage.yml|stage broken|spec.selector.matchExpressions[0].jq.key"},
		{"", "-c|case.yml", "case.yml:4|did you mean etcdPort?"},
		{"", "-c|nested.yml", "nested.yml:5|did you mean extraArgs?"},
		{"", "-c|kindd.yml", "kindd.yml:2|did you mean KwokctlConfiguration?"},
		{"", "-c|bool.yml", "bool.yml:3|kubeAdmission|true or false"},
		{"", "-c|lease-half.yml", "lease-half.yml:4|nodeLeaseDurationSeconds|whole number|1.5"},
		{"", "-c|list.yml", "list.yml:4|options.enable"},
		{"", "-c|lease.yml", "lease.yml:4|nodeLeaseDurationSeconds -4"},
		{"", "-c|lots.yml", "nodeLeaseDurationSeconds 2000000000|heartbeatFactor 5"},
		{"", "-c|period.yml", "period.yml:4|nodeStatusUpdateFrequencyMilliseconds -1"},
		{"", "-c|runtimes.yml", `"lima"|binary`},
		{"", "-c|bind.yml", `"10.1.2.3"|127.0.0.1`},
		{"", "-c|sans.yml", "kubeApiserverCertSANs|a b"},
		{"", "-c|patch-type.yml", "pathType|Bogus|Directory"},
		{"", "-c|peer.yml", "etcdPeerPort 2380"},
		{"", "-c|insecure.yml", "insecureKubeconfig|kubeApiserverInsecurePort"},
		{"", "-c|version.yml", "v1.20.0|1.22"},
		{"", "-c|patch.yml", "componentsPatches[0]|did you mean kube-scheduler?"},
		{"", "-c|patch-key.yml", `"a=b"`},
		{"", "-c|patch-none.yml", `""|flag`},
		{"", "-c|patch-env.yml", `"a=b"`},
		{"", "-c|patch-vol.yml", "/a|/b"},
		{"", "-c|user-own.yml", "etcd is built in|componentsPatches"},
		{"", "-c|user-name.yml", `"../x"`},
		{"", "-c|user-ours.yml", "supervisor"},
		{"", "-c|user-none.yml", "image"},
		{"", "-c|user-lost.yml", "/no/such/program: no such file"},
		{"", "-c|user-path.yml", "no-such-program-anywhere|$PATH"},
		{"", "-c|user-link.yml", `"nobody"|etcd`},
		{"", "-c|user-loop.yml", "x needs itself"},
		{"", "-c|user-user.yml", "user nobody"},
		{"", "-c|user-dir.yml", "workDir /tmp"},
		{"", "-c|user-manifest.yml", "components[0] x|manifestContents[0]|document 1"},
		{"", "-c|user-port.yml", "70000|65535"},
		{"", "-c|kwok-ip.yml", `nodeIP "10.0.0.300"`},
		{"", "-c|kwok-address.yml", `serverAddress "localhost"`},
		{"", "-c|kwok-cidr.yml", `cidr "10.0.0.0"`},
		{"", "-c|kwok-cert.yml", `tlsCertFile "nowhere.crt"|tlsPrivateKeyFile "nowhere.key"|no such file`},
		{"", "-c|kwok-pem.yml", `tlsCertFile "text"|PEM`},
		{"", "-c|kwok-half.yml", `tlsCertFile ""|tlsPrivateKeyFile "text"|both or none`},
		{"", "-c|kwok-ca.yml", `clientCAFile "text"|PEM`},
		{"", "-c|forward.yml", "ClusterPortForward x|spec.forwards[0].ports[0] 70000"},
		{"", "-c|forward-to.yml", "PortForward x|spec.forwards[0].target.port -1"},
		{"", "-c|delay.yml", "delay.yml|stage s|spec.delay.durationMilliseconds: -5 is negative"},
		{"", "-c|jitter.yml", "jitter.yml|stage s|spec.delay.jitterDurationMilliseconds: -1 is negative"},
		{"", "-c|twice.yml", `twice.yml|stage s|metadata.name: "s" is a stage at|twice.yml:3 already`},
		{"", "-c|empty", "empty|no kustomization"},
		{"", "-c|broken", "broken|nowhere.yaml"},
		{"", "-c|text,field.yml", "text"},
		{"", "--enable-crds|Stagee", `"Stagee"|Stage`},
	} {
		w.env = env
		if tt.env != "" {
			w.env = append(env[:len(env):len(env)], tt.env)
		}
		what := tt.env + " " + tt.args
		args := []string{"create", "cluster"}
		if tt.args != "" {
			args = append(args, strings.Split(tt.args, "|")...)
		}
		r := w.run(args...)
		w.oneLine(what, r, strings.Split(tt.words, "|")...)
		if r.took > 2*time.Second {
			t.Errorf("%s: took %s", what, r.took)
		}
		if now := tree(w.home); len(differ(before, now)) > 0 {
			t.Errorf("%s: written: %.300q", what, differ(before, now))
			before = now
		}
	}
	w.env = env
}
