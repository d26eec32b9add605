package components

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"kwokctl/internal/api"
)

// Selection leaves nodes to the controller as its configuration, among others, or arguments for it choose them. When
// they choose none it has all nodes; both at once it would refuse. Selection also tells what is wrong in that
// configuration, which the controller would say only when the cluster starts.
func Selection(cfg *api.KwokctlConfiguration, others []api.Object) error {
	chosen := slices.ContainsFunc(cfg.Options.ExtraArgs, func(arg string) bool {
		key, ok := strings.CutPrefix(arg, "kwok-controller=")
		return ok && selects(key)
	})
	for _, p := range cfg.ComponentsPatches {
		chosen = chosen || p.Name == "kwok-controller" && slices.ContainsFunc(p.ExtraArgs, func(a api.ExtraArg) bool { return selects(a.Key) })
	}
	for _, c := range api.Of[*api.KwokConfiguration](others) {
		o := &c.Options
		if err := checkController(o); err != nil {
			return fmt.Errorf("KwokConfiguration: %w", err)
		}
		chosen = chosen || o.ManageSingleNode+o.ManageNodesWithAnnotationSelector+o.ManageNodesWithLabelSelector != ""
	}
	if names, err := Names(&cfg.Options); err != nil || !chosen || !slices.Contains(names, "kwok-controller") {
		return err
	}
	cfg.Options.ExtraArgs = append([]string{"kwok-controller=manage-all-nodes=false"}, cfg.Options.ExtraArgs...)
	return nil
}

// selects tells whether a flag of the controller chooses some of the nodes.
func selects(flag string) bool {
	flag = strings.TrimLeft(flag, "-")
	return strings.HasPrefix(flag, "manage-single-node") || strings.HasPrefix(flag, "manage-nodes-with-")
}

func checkController(o *api.KwokOptions) error {
	ways := 0
	for _, way := range []bool{o.ManageAllNodes, o.ManageSingleNode != "", o.ManageNodesWithAnnotationSelector+o.ManageNodesWithLabelSelector != ""} {
		if way {
			ways++
		}
	}
	if ways > 1 {
		return errors.New("only one is allowed of manageAllNodes, manageSingleNode and manageNodesWith(Annotation|Label)Selector")
	}
	for _, s := range []struct{ field, text string }{
		{"manageNodesWithAnnotationSelector", o.ManageNodesWithAnnotationSelector},
		{"manageNodesWithLabelSelector", o.ManageNodesWithLabelSelector},
		{"disregardStatusWithAnnotationSelector", o.DisregardStatusWithAnnotationSelector},
		{"disregardStatusWithLabelSelector", o.DisregardStatusWithLabelSelector},
	} {
		if _, err := labels.Parse(s.text); err != nil {
			return fmt.Errorf("%s %q: %w", s.field, s.text, err)
		}
	}
	if _, err := netip.ParsePrefix(o.CIDR); err != nil {
		return fmt.Errorf("cidr %q: want one such as 10.0.0.0/24", o.CIDR)
	}
	return nil
}
