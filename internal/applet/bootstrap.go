package applet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"k8s.io/component-helpers/auth/rbac/reconciliation"
	schedulingapi "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

const (
	bootstrapWorkers = 8
	bootstrapTimeout = 30 * time.Second // what the stock hooks allow before the server gives up
)

// work is one object to make or to bring up to date.
type work struct {
	name   string
	create func(ctx context.Context) error // fails with AlreadyExists when there is something to reconcile
	update func() error
}

// bootstrapRBAC makes the default RBAC policy of Kubernetes: on a new cluster each object with one request, by
// several workers at once; on an older one with the stock reconciliation of those that exist.
func bootstrapRBAC(hook genericapiserver.PostStartHookContext) error {
	client, err := loopback(hook)
	if err != nil {
		return err
	}
	// Bindings come after roles: the server checks that who binds a role may do so by looking the role up.
	roles, bindings := policyWork(client)
	for _, batch := range [][]work{roles, bindings} {
		if err := makeAll(hook, batch); err != nil {
			return fmt.Errorf("make RBAC policy: %w", err)
		}
	}
	return nil
}

// bootstrapServiceAccount makes the account that pods of the default namespace run as. The controller-manager would
// make the same one, a second after its start; until then nobody could create a pod.
func bootstrapServiceAccount(hook genericapiserver.PostStartHookContext) error {
	client, err := loopback(hook)
	if err != nil {
		return err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if err := makeAll(hook, []work{{"default service account", func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Create(ctx, account, metav1.CreateOptions{})
		return err
	}, nil}}); err != nil {
		return fmt.Errorf("make service account: %w", err)
	}
	return nil
}

// bootstrapPriorityClasses makes the two priority classes that system pods name.
func bootstrapPriorityClasses(hook genericapiserver.PostStartHookContext) error {
	client, err := loopback(hook)
	if err != nil {
		return err
	}
	var all []work
	for _, class := range schedulingapi.SystemPriorityClasses() {
		all = append(all, work{class.Name, func(ctx context.Context) error {
			_, err := client.SchedulingV1().PriorityClasses().Create(ctx, class, metav1.CreateOptions{})
			return err
		}, nil})
	}
	if err := makeAll(hook, all); err != nil {
		return fmt.Errorf("make system priority classes: %w", err)
	}
	return nil
}

// loopback is the server's client to itself, in protobuf because that is cheaper for both sides.
func loopback(hook genericapiserver.PostStartHookContext) (kubernetes.Interface, error) {
	config := rest.CopyConfig(hook.LoopbackClientConfig)
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	return kubernetes.NewForConfig(config)
}

// makeAll does the work with several workers and tries again what failed, until all is done.
func makeAll(ctx context.Context, all []work) error {
	ctx, cancel := context.WithTimeout(ctx, bootstrapTimeout)
	defer cancel()
	queue := make(chan work)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		fails []error
	)
	for range bootstrapWorkers {
		wg.Go(func() {
			for w := range queue {
				if err := makeOne(ctx, w); err != nil {
					mu.Lock()
					fails = append(fails, fmt.Errorf("%s: %w", w.name, err))
					mu.Unlock()
				}
			}
		})
	}
	for _, w := range all {
		queue <- w
	}
	close(queue)
	wg.Wait()
	return errors.Join(fails...)
}

func makeOne(ctx context.Context, w work) error {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := w.create(ctx)
		if apierrors.IsAlreadyExists(err) {
			err = nil
			if w.update != nil {
				err = retry.OnError(retry.DefaultBackoff, apierrors.IsConflict, w.update)
			}
		}
		if err == nil {
			return nil
		}
		select { // etcd may not answer yet, or the namespace of a role may not be there yet
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// policyWork lists the stock policy: all roles, then all bindings. It leaves out the stock hook's migrations of
// clusters older than Kubernetes 1.9, which this binary cannot have made.
func policyWork(client kubernetes.Interface) (roles, bindings []work) {
	rbac := client.RbacV1()
	for _, role := range append(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()...) {
		roles = append(roles, work{"clusterrole " + role.Name, func(ctx context.Context) error {
			_, err := rbac.ClusterRoles().Create(ctx, &role, metav1.CreateOptions{})
			return err
		}, func() error {
			_, err := (&reconciliation.ReconcileRoleOptions{Confirm: true,
				Role:   reconciliation.ClusterRoleRuleOwner{ClusterRole: &role},
				Client: reconciliation.ClusterRoleModifier{Client: rbac.ClusterRoles()}}).Run()
			return err
		}})
	}
	for _, binding := range append(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()...) {
		bindings = append(bindings, work{"clusterrolebinding " + binding.Name, func(ctx context.Context) error {
			_, err := rbac.ClusterRoleBindings().Create(ctx, &binding, metav1.CreateOptions{})
			return err
		}, func() error {
			_, err := (&reconciliation.ReconcileRoleBindingOptions{Confirm: true,
				RoleBinding: reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: &binding},
				Client:      reconciliation.ClusterRoleBindingClientAdapter{Client: rbac.ClusterRoleBindings()}}).Run()
			return err
		}})
	}
	r, b := namespacedWork(client)
	return append(roles, r...), append(bindings, b...)
}

// namespacedWork lists the roles and bindings that live in system namespaces.
func namespacedWork(client kubernetes.Interface) (roles, bindings []work) {
	rbac, namespaces := client.RbacV1(), client.CoreV1().Namespaces()
	for namespace, list := range bootstrappolicy.NamespaceRoles() {
		for _, role := range list {
			roles = append(roles, work{"role " + namespace + "/" + role.Name, func(ctx context.Context) error {
				_, err := rbac.Roles(namespace).Create(ctx, &role, metav1.CreateOptions{})
				return err
			}, func() error {
				_, err := (&reconciliation.ReconcileRoleOptions{Confirm: true,
					Role:   reconciliation.RoleRuleOwner{Role: &role},
					Client: reconciliation.RoleModifier{Client: rbac, NamespaceClient: namespaces}}).Run()
				return err
			}})
		}
	}
	for namespace, list := range bootstrappolicy.NamespaceRoleBindings() {
		for _, binding := range list {
			bindings = append(bindings, work{"rolebinding " + namespace + "/" + binding.Name, func(ctx context.Context) error {
				_, err := rbac.RoleBindings(namespace).Create(ctx, &binding, metav1.CreateOptions{})
				return err
			}, func() error {
				_, err := (&reconciliation.ReconcileRoleBindingOptions{Confirm: true,
					RoleBinding: reconciliation.RoleBindingAdapter{RoleBinding: &binding},
					Client:      reconciliation.RoleBindingClientAdapter{Client: rbac, NamespaceClient: namespaces}}).Run()
				return err
			}})
		}
	}
	return roles, bindings
}
