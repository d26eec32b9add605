package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"kwokctl/internal/api"
	"kwokctl/internal/audit"
	"kwokctl/internal/components"
	"kwokctl/kustomize"
)

// auditPolicy is the file with the policy that the options ask for, if they do: the user's, else ours.
func auditPolicy(o *api.KwokctlOptions) ([]components.File, error) {
	policy := kustomize.AuditPolicy()
	switch {
	case o.KubeAuditPolicy != "":
		var err error
		if policy, err = audit.ReadPolicy(o.KubeAuditPolicy); err != nil {
			return nil, fmt.Errorf("kube-audit-policy: %w", err)
		}
	case !o.Audit:
		return nil, nil
	}
	return []components.File{{Path: components.AuditPolicy, Data: policy}}, nil
}

func newAudit(env *Env) *cobra.Command {
	return parent("audit", "See who asked the API server for what", newAuditSummary(env), newAuditTail(env), newAuditPolicy(env))
}

func newAuditPolicy(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "policy", Short: "Print the policy of create cluster --audit", Args: exactly(cobra.NoArgs),
		Example: "  kwokctl audit policy > policy.yaml\n  kwokctl create cluster --kube-audit-policy policy.yaml",
		RunE: func(*cobra.Command, []string) error {
			_, err := env.Out.Write(kustomize.AuditPolicy())
			return err
		},
	}
}

func newAuditSummary(env *Env) *cobra.Command {
	var since, format string
	cmd := &cobra.Command{
		Use: "summary [FILE...]", Short: "Count requests by user, verb, resource and status; name the busiest and the slowest",
		Long: "Count the requests in the cluster's audit log, or in audit logs from elsewhere; - is standard input.",
	}
	sinceFlag(cmd, &since)
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if format != "text" && format != "json" {
			return fmt.Errorf("-o %q: allowed are text, json", format)
		}
		var count audit.Counter
		bad, err := env.events(cmd.Context(), args, since, false, count.Add)
		if err != nil {
			return err
		}
		sum := count.Summary(bad)
		if format == "json" {
			return printAs(env.Out, format, sum)
		}
		return printSummary(env.Out, &sum)
	}
	return cmd
}

func newAuditTail(env *Env) *cobra.Command {
	var since string
	var follow bool
	cmd := &cobra.Command{
		Use: "tail [FILE...]", Short: "Print requests, a line each; kwokctl logs audit prints all that is known of them",
	}
	sinceFlag(cmd, &since)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until interrupted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if follow && len(args) > 0 {
			return fmt.Errorf("%s: -f follows the cluster's log, not files", cmd.CommandPath())
		}
		_, err := env.events(cmd.Context(), args, since, follow, func(e *audit.Event) { printEvent(env.Out, e) })
		return err
	}
	return cmd
}

func sinceFlag(cmd *cobra.Command, since *string) {
	cmd.Flags().StringVar(since, "since", "", "only requests since then: a duration before now such as 10m, or a time such as 2006-01-02T15:04:05Z")
}

// events reads the cluster's audit log or, if there are any, files.
func (e *Env) events(ctx context.Context, paths []string, since string, follow bool, each func(*audit.Event)) (bad int, err error) {
	from, err := sinceTime(since, time.Now())
	if err != nil {
		return 0, err
	}
	if len(paths) == 0 {
		c, err := e.open()
		if err != nil {
			return 0, err
		}
		log, err := c.AuditLog()
		if err != nil {
			return 0, err
		}
		return log.Events(ctx, from, follow, each)
	}
	for _, path := range paths {
		n, err := e.eventsOf(path, from, each)
		if err != nil {
			return bad, err
		}
		bad += n
	}
	return bad, nil
}

func (e *Env) eventsOf(path string, from time.Time, each func(*audit.Event)) (int, error) {
	in := e.In
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return 0, fmt.Errorf("read audit log: %w", err)
		}
		defer f.Close()
		in = f
	}
	bad, err := audit.Events(in, from, each)
	if err != nil {
		err = fmt.Errorf("%s: %w", place(path, "standard input"), err)
	}
	return bad, err
}

// sinceTime reads a time, or a duration before now. Nothing means all.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("--since %q: want a duration such as 10m or a time such as %s", text, now.UTC().Format(time.RFC3339))
	}
	return t, nil
}

func printEvent(w io.Writer, e *audit.Event) {
	what := e.Resource()
	if o := e.Object; o.Resource != "" {
		what += " " + strings.Trim(o.Namespace+"/"+o.Name, "/")
	}
	fmt.Fprintf(w, "%s %d %7s %s %s %s\n", e.Received.Local().Format("15:04:05.000"), e.Response.Code,
		milliseconds(e.Took()), visible(e.User.Name), visible(e.Verb), visible(strings.TrimSpace(what)))
}

// visible keeps a stranger's text from commanding the terminal.
func visible(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}, text)
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1fms", float64(d)/1e6) }

// topRows is how many lines of each table a person is shown.
const topRows = 10

func printSummary(w io.Writer, s *audit.Summary) error {
	if s.Requests == 0 {
		_, err := fmt.Fprintln(w, "no requests")
		return err
	}
	fmt.Fprintf(w, "%d requests in %s (%.1f a second), %d failed, %s to %s\n", s.Requests, s.To.Sub(s.From).Round(time.Second),
		s.PerSecond, s.Failed, s.From.Local().Format(time.DateTime), s.To.Local().Format(time.DateTime))
	if s.Unreadable > 0 {
		fmt.Fprintf(w, "%d lines are no events\n", s.Unreadable)
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, table := range []struct {
		head string
		rows []audit.Count
	}{{"USER", s.Users}, {"VERB", s.Verbs}, {"RESOURCE", s.Resources}, {"CODE", s.Codes}} {
		fmt.Fprintf(t, "\n%s\tREQUESTS\tSHARE\n", table.head)
		for _, r := range table.rows[:min(topRows, len(table.rows))] {
			fmt.Fprintf(t, "%s\t%d\t%.1f%%\n", visible(r.Name), r.Requests, 100*float64(r.Requests)/float64(s.Requests))
		}
		if more := len(table.rows) - topRows; more > 0 {
			fmt.Fprintf(t, "(%d more, see -o json)\n", more)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	fmt.Fprintln(t, "\nBUSIEST\tVERB\tRESOURCE\tREQUESTS")
	for _, p := range s.Busiest {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\n", visible(p.User), visible(p.Verb), visible(p.Resource), p.Requests)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(t, "\nSLOWEST\tTOOK\tCODE\tUSER\tREQUEST")
	for _, r := range s.Slowest {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s %.100s\n", r.Time.Local().Format("15:04:05"), milliseconds(r.Took), r.Code, visible(r.User), visible(r.Verb), visible(r.URI))
	}
	return t.Flush()
}
