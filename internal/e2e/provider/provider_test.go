// Package provider drives kwokctl as Go projects do: through the kwok provider of sigs.k8s.io/e2e-framework. It is a
// module of its own, so that the versions of Kubernetes that the framework wants do not meet ours.
package provider

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/e2e-framework/klient"
	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/envfuncs"
	"sigs.k8s.io/e2e-framework/pkg/features"
	"sigs.k8s.io/e2e-framework/third_party/kwok"
)

// TestProvider creates a cluster, uses it, exports its logs and deletes it. KWOKCTL is the path of the binary;
// TestEndToEndFramework of the package above runs this test.
func TestProvider(t *testing.T) {
	path := os.Getenv("KWOKCTL")
	if path == "" {
		t.Fatal("KWOKCTL is not set to the path of kwokctl")
	}
	logs := t.TempDir()
	cluster := kwok.NewProvider().WithPath(path)
	world := env.NewWithConfig(envconf.New())
	ctx, err := envfuncs.CreateCluster(cluster, "framework")(context.Background(), world.EnvConf())
	if err != nil {
		t.Fatal(err)
	}
	world = world.WithContext(ctx)
	t.Cleanup(func() {
		if _, err := envfuncs.ExportClusterLogs("framework", logs)(ctx, world.EnvConf()); err != nil {
			t.Error("export logs:", err)
		}
		if left, _ := filepath.Glob(filepath.Join(logs, "framework", "components", "*.log")); len(left) < 5 {
			t.Errorf("logs: %v", left)
		}
		if _, err := envfuncs.DestroyCluster("framework")(ctx, world.EnvConf()); err != nil {
			t.Error("destroy:", err)
		}
	})
	if got := cluster.GetKubectlContext(); got != "kwok-framework" {
		t.Errorf("context %q", got)
	}
	// A second call finds the cluster and leaves it alone.
	if _, err := kwok.NewCluster("framework").WithPath(path).Create(ctx); err != nil {
		t.Error("create again:", err)
	}
	world.Test(t, features.New("namespaces").Assess("are there", func(ctx context.Context, t *testing.T, c *envconf.Config) context.Context {
		client, err := klient.NewWithKubeConfigFile(cluster.GetKubeconfig())
		if err != nil {
			t.Fatal(err)
		}
		var list corev1.NamespaceList
		if err := client.Resources().List(ctx, &list); err != nil || len(list.Items) < 4 {
			t.Errorf("%d namespaces, %v", len(list.Items), err)
		}
		return ctx
	}).Feature())
}
