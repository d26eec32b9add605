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
	rbacclient "k8s.io/client-go/kubernetes/typed/rbac/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"k8s.io/component-helpers/auth/rbac/reconciliation"
	schedulingapi "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

const (
	bootstrapWorkers = 8
	// The server ends when its hooks give up: the 30 s of the stock ones are too little where twenty clusters start at once.
	bootstrapTimeout = 2 * time.Minute
)

// work is one object to make or to bring up to date.
type work struct {
	name   string
	exists bool
	create func(ctx context.Context) error // fails with AlreadyExists when there is something to reconcile
	update func() error
}

// policy is what there was of the RBAC policy when the server started, by the name of the work that it saves.
type policy struct{ sync.Map }

// readPolicy lists it. What it does not find is asked for one by one, which takes longer and is as good.
func readPolicy(ctx context.Context, rbac rbacclient.RbacV1Interface) *policy {
	p := &policy{}
	roles, err := rbac.ClusterRoles().List(ctx, metav1.ListOptions{})
	if err != nil || len(roles.Items) == 0 { // a new cluster
		return p
	}
	for i := range roles.Items {
		p.Store("clusterrole "+roles.Items[i].Name, reconciliation.ClusterRoleRuleOwner{ClusterRole: &roles.Items[i]})
	}
	if list, err := rbac.ClusterRoleBindings().List(ctx, metav1.ListOptions{}); err == nil {
		for i := range list.Items {
			p.Store("clusterrolebinding "+list.Items[i].Name, reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: &list.Items[i]})
		}
	}
	if list, err := rbac.Roles("").List(ctx, metav1.ListOptions{}); err == nil {
		for i := range list.Items {
			p.Store("role "+list.Items[i].Namespace+"/"+list.Items[i].Name, reconciliation.RoleRuleOwner{Role: &list.Items[i]})
		}
	}
	if list, err := rbac.RoleBindings("").List(ctx, metav1.ListOptions{}); err == nil {
		for i := range list.Items {
			p.Store("rolebinding "+list.Items[i].Namespace+"/"+list.Items[i].Name, reconciliation.RoleBindingAdapter{RoleBinding: &list.Items[i]})
		}
	}
	return p
}

// knownRules gets a role from the policy, once: who asks again wants to know what it has become.
type knownRules struct {
	reconciliation.RuleOwnerModifier
	known *policy
	name  string
}

func (k knownRules) Get(namespace, name string) (reconciliation.RuleOwner, error) {
	if role, ok := k.known.LoadAndDelete(k.name); ok {
		return role.(reconciliation.RuleOwner), nil
	}
	return k.RuleOwnerModifier.Get(namespace, name)
}

// knownBinding is the same for bindings.
type knownBinding struct {
	reconciliation.RoleBindingModifier
	known *policy
	name  string
}

func (k knownBinding) Get(namespace, name string) (reconciliation.RoleBinding, error) {
	if binding, ok := k.known.LoadAndDelete(k.name); ok {
		return binding.(reconciliation.RoleBinding), nil
	}
	return k.RoleBindingModifier.Get(namespace, name)
}

// bootstrapRBAC makes the default RBAC policy of Kubernetes: each object that is not there with one request, by several
// workers at once; those that are, which are listed first, with the stock reconciliation.
func bootstrapRBAC(hook genericapiserver.PostStartHookContext) error {
	client, err := loopback(hook)
	if err != nil {
		return err
	}
	// Bindings come after roles: the server checks that who binds a role may do so by looking the role up.
	roles, bindings := policyWork(client, readPolicy(hook, client.RbacV1()))
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
	if err := makeAll(hook, []work{{name: "default service account", create: func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Create(ctx, account, metav1.CreateOptions{})
		return err
	}}}); err != nil {
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
		all = append(all, work{name: class.Name, create: func(ctx context.Context) error {
			_, err := client.SchedulingV1().PriorityClasses().Create(ctx, class, metav1.CreateOptions{})
			return err
		}})
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
		var err error
		if !w.exists {
			err = w.create(ctx)
		}
		if w.exists || apierrors.IsAlreadyExists(err) {
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
func policyWork(client kubernetes.Interface, known *policy) (roles, bindings []work) {
	rbac, namespaces := client.RbacV1(), client.CoreV1().Namespaces()
	role := func(name string, create func(context.Context) error, role reconciliation.RuleOwner, m reconciliation.RuleOwnerModifier) {
		_, exists := known.Load(name)
		o := &reconciliation.ReconcileRoleOptions{Confirm: true, Role: role, Client: knownRules{m, known, name}}
		roles = append(roles, work{name, exists, create, func() error { _, err := o.Run(); return err }})
	}
	binding := func(name string, create func(context.Context) error, binding reconciliation.RoleBinding, m reconciliation.RoleBindingModifier) {
		_, exists := known.Load(name)
		o := &reconciliation.ReconcileRoleBindingOptions{Confirm: true, RoleBinding: binding, Client: knownBinding{m, known, name}}
		bindings = append(bindings, work{name, exists, create, func() error { _, err := o.Run(); return err }})
	}
	for _, r := range append(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()...) {
		role("clusterrole "+r.Name, func(ctx context.Context) error {
			_, err := rbac.ClusterRoles().Create(ctx, &r, metav1.CreateOptions{})
			return err
		}, reconciliation.ClusterRoleRuleOwner{ClusterRole: &r}, reconciliation.ClusterRoleModifier{Client: rbac.ClusterRoles()})
	}
	for _, b := range append(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()...) {
		binding("clusterrolebinding "+b.Name, func(ctx context.Context) error {
			_, err := rbac.ClusterRoleBindings().Create(ctx, &b, metav1.CreateOptions{})
			return err
		}, reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: &b}, reconciliation.ClusterRoleBindingClientAdapter{Client: rbac.ClusterRoleBindings()})
	}
	for namespace, list := range bootstrappolicy.NamespaceRoles() {
		for _, r := range list {
			role("role "+namespace+"/"+r.Name, func(ctx context.Context) error {
				_, err := rbac.Roles(namespace).Create(ctx, &r, metav1.CreateOptions{})
				return err
			}, reconciliation.RoleRuleOwner{Role: &r}, reconciliation.RoleModifier{Client: rbac, NamespaceClient: namespaces})
		}
	}
	for namespace, list := range bootstrappolicy.NamespaceRoleBindings() {
		for _, b := range list {
			binding("rolebinding "+namespace+"/"+b.Name, func(ctx context.Context) error {
				_, err := rbac.RoleBindings(namespace).Create(ctx, &b, metav1.CreateOptions{})
				return err
			}, reconciliation.RoleBindingAdapter{RoleBinding: &b}, reconciliation.RoleBindingClientAdapter{Client: rbac, NamespaceClient: namespaces})
		}
	}
	return roles, bindings
}
