// Package applet is the table of the programs embedded in this binary. It is the only importer of the Kubernetes
// and etcd servers.
package applet

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/etcdctl/v3/ctlv3"
	"go.etcd.io/etcd/etcdutl/v3/etcdutl"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	kubectlcmd "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	_ "k8s.io/client-go/plugin/pkg/client/auth" // credentials of clouds, as in the stock kubectl

	_ "kwokctl/internal/applet/early" // cheap starts
	"kwokctl/internal/cluster"
	"kwokctl/internal/components"
	"kwokctl/internal/controller"
	"kwokctl/runtimes"
	"kwokctl/runtimes/docker"
	"kwokctl/runtimes/process"
)

// table holds the embedded programs by the name they are called by. Each reads os.Args and returns its exit status.
var table = map[string]func() int{
	"etcd":                    etcd,
	"etcdctl":                 etcdctl,
	"etcdutl":                 etcdutil,
	"kube-apiserver":          kubeAPIServer,
	"kube-controller-manager": func() int { sharePods(); return component(kcm.NewControllerManagerCommand()) },
	"kectl":                   kectlMain,
	"kube-scheduler":          func() int { sharePods(); return component(scheduler.NewSchedulerCommand()) },
	"kubectl":                 kubectl,
	"kwok":                    kwok,
	"kwok-controller":         kwok,
	components.InsecureProxy:  insecureProxy,
	process.SuperviseApplet:   supervise,
	cluster.AuditApplet:       func() int { return cluster.AuditMain(os.Args[1:], os.Stdin, os.Stdout, os.Stderr) },
	docker.ProbeApplet:        func() int { return docker.ProbeMain(os.Args[1:], os.Stdout, os.Stderr) },
	docker.DialApplet:         func() int { return docker.DialMain(os.Args[1:], os.Stdin, os.Stdout, os.Stderr) },
}

// Called returns the program that a binary called by path is to be, or false when path names none.
func Called(path string) (run func() int, ok bool) {
	name := strings.TrimSuffix(filepath.Base(path), ".exe")
	if _, ok = table[name]; !ok {
		return nil, false
	}
	return func() int { return Run(name, os.Args[1:]) }, true
}

// Run is the program called name with args, in this process, in place of whatever the process was. It changes
// os.Args, which the embedded programs read, and returns the exit status; many of them exit by themselves.
func Run(name string, args []string) int {
	run, ok := table[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "%s: no such program\n", name)
		return 1
	}
	os.Args = append([]string{name}, args...)
	cobra.EnablePrefixMatching = strings.HasPrefix(name, "etcd") // etcd's tools turn it on for all that is linked in
	return run()
}

// enter waits until a server has what it needs: everything before that costs time and needs nothing. The start, as far
// as memory is concerned, begins then.
func enter(name string, bounded bool) bool {
	if err := runtimes.WaitGate(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return false
	}
	settle(bounded)
	return true
}

func component(cmd *cobra.Command) int {
	if !enter(cmd.Name(), false) {
		return 1
	}
	return cli.Run(cmd)
}

func etcd() int {
	if !enter("etcd", false) {
		return 1
	}
	etcdmain.Main(os.Args)
	return 0
}

// kubeAPIServer waits for etcd by itself, when half of its start is done.
func kubeAPIServer() int {
	settle(false)
	return cli.Run(apiServerCommand())
}

func etcdctl() int {
	ctlv3.MustStart()
	return 0
}

// etcdutil is the stock program's root command, which lives in a main package and cannot be imported.
func etcdutil() int {
	cmd := &cobra.Command{Use: "etcdutl", Short: "An administrative command line tool for etcd data files", SilenceErrors: true}
	cmd.PersistentFlags().StringVarP(&etcdutl.OutputFormat, "write-out", "w", "simple", "set the output format (fields, json, protobuf, simple, table)")
	cmd.AddCommand(etcdutl.NewDefragCommand(), etcdutl.NewSnapshotCommand(), etcdutl.NewHashKVCommand(),
		etcdutl.NewVersionCommand(), etcdutl.NewCompletionCommand(), etcdutl.NewMigrateCommand())
	if err := cmd.Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "etcdutl: %v\n", err)
		return 1
	}
	return 0
}

func kubectl() int {
	_, _ = logs.GlogSetter(kubectlcmd.GetLogVerbosity(os.Args)) // klog is used before flags are parsed
	if err := cli.RunNoErrOutput(kubectlcmd.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err) // prints and exits
	}
	return 0
}

func kwok() int {
	if !enter("kwok", true) {
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return controller.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

func supervise() int {
	settle(false)
	return process.SuperviseMain(os.Args[1:])
}
