package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"kwokctl/internal/cluster"
	"kwokctl/runtimes"
)

// askTimeout bounds how long one cluster may take to say how it is.
const askTimeout = 5 * time.Second

var formats = []string{"name", "wide", "json", "yaml"}

// clusterRow is a line of get clusters.
type clusterRow struct {
	Name       string            `json:"name"`
	Status     string            `json:"status"` // Ready, NotReady, Stopped, CrashLoop, Damaged or Unknown
	Ready      int               `json:"ready"`
	Total      int               `json:"total"`
	Context    string            `json:"context"`
	Server     string            `json:"server,omitempty"`
	Directory  string            `json:"directory"`
	Error      string            `json:"error,omitempty"`
	Components []runtimes.Status `json:"-"`
}

func newGetClusters(env *Env) *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "clusters", Aliases: []string{"cluster"}, Short: "List clusters", Args: exactly(cobra.NoArgs)}
	formatFlag(cmd, &format, "name")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		home, err := env.home()
		if err != nil {
			return err
		}
		names, err := home.List()
		if err != nil {
			return err
		}
		foreign, err := home.Foreign()
		if err != nil {
			return err
		}
		for _, name := range foreign {
			fmt.Fprintf(env.Err, "Warning: cluster %q is left out: kwokctl did not make its directory\n", name)
		}
		if live, _ := liveTerminal(env); live && len(names) == 0 {
			fmt.Fprintln(env.say(), "There are no clusters; kwokctl create cluster makes one.")
		}
		rows := make([]clusterRow, len(names))
		for i, name := range names {
			if format == "name" {
				rows[i].Name = name // and nothing is asked
				continue
			}
			rows[i] = describe(cmd.Context(), home, name)
		}
		return list(env.Out, format, rows, func(r clusterRow) string { return r.Name }, "NAME\tREADY\tSTATUS\tSERVER", func(r clusterRow) string {
			return fmt.Sprintf("%s\t%d/%d\t%s\t%s", r.Name, r.Ready, r.Total, r.Status, r.Server)
		})
	}
	return cmd
}

// describe asks one cluster how it is. It never fails: what cannot be known is part of the answer.
func describe(ctx context.Context, home cluster.Home, name string) clusterRow {
	row := clusterRow{Name: name, Context: cluster.Context(name), Directory: filepath.Join(home.Dir, "clusters", name)}
	c, err := home.Open(name)
	if err != nil {
		row.Status, row.Error = "Damaged", err.Error()
		return row
	}
	row.Server = c.Server()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	list, err := c.Status(ctx)
	if err != nil {
		row.Status, row.Error = "Unknown", err.Error()
		return row
	}
	row.Status, row.Ready, row.Total = summary(list)
	return row
}

// summary says in a word how components are.
func summary(list []runtimes.Status) (word string, ready, total int) {
	stopped, crash := 0, false
	for _, s := range list {
		switch s.State {
		case runtimes.Ready:
			ready++
		case runtimes.Stopped:
			stopped++
		case runtimes.CrashLoop:
			crash = true
		}
	}
	switch total = len(list); {
	case crash:
		return "CrashLoop", ready, total
	case ready == total:
		return "Ready", ready, total
	case stopped == total:
		return "Stopped", ready, total
	}
	return "NotReady", ready, total
}

func newGetComponents(env *Env) *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "components", Aliases: []string{"component"}, Short: "List the components of a cluster", Args: exactly(cobra.NoArgs)}
	formatFlag(cmd, &format, "name")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := env.open()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), askTimeout)
		defer cancel()
		rows, err := c.Status(ctx)
		if err != nil {
			return err
		}
		return list(env.Out, format, rows, func(s runtimes.Status) string { return s.Name }, "NAME\tSTATUS\tPID\tRESTARTS\tREASON", func(s runtimes.Status) string {
			pid := "-"
			if s.PID != 0 {
				pid = fmt.Sprint(s.PID)
			}
			why := s.Reason
			if why == "" && s.LastExit != "" {
				why = "last time: " + s.LastExit
			}
			return fmt.Sprintf("%s\t%s\t%s\t%d\t%s", s.Name, s.State, pid, s.Restarts, why)
		})
	}
	return cmd
}

func formatFlag(cmd *cobra.Command, into *string, unset string) {
	cmd.Flags().StringVarP(into, "output", "o", unset, "output format: "+strings.Join(formats, ", "))
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains(formats, *into) {
			return fmt.Errorf("-o %q: allowed are %s", *into, strings.Join(formats, ", "))
		}
		return nil
	}
}

// printAs prints what a program is to read, as json or yaml.
func printAs(w io.Writer, format string, what any) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(what)
	}
	data, err := yaml.Marshal(what)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// list prints rows in one of the formats.
func list[T any](w io.Writer, format string, rows []T, name func(T) string, head string, wide func(T) string) error {
	switch format {
	case "json", "yaml":
		return printAs(w, format, rows)
	case "wide":
		t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
		if len(rows) > 0 && head != "" {
			fmt.Fprintln(t, head)
		}
		for _, r := range rows {
			fmt.Fprintln(t, wide(r))
		}
		return t.Flush()
	default:
		for _, r := range rows {
			if _, err := fmt.Fprintln(w, name(r)); err != nil {
				return err
			}
		}
		return nil
	}
}
