package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"kwokctl/internal/api"
	"kwokctl/internal/stage"
	"kwokctl/kustomize"
)

func newStage(env *Env) *cobra.Command {
	return parent("stage", "Try out and check Stages without a cluster, and print those that are shipped", newStageTest(env), newStageLint(env), newStageShow(env))
}

func filenameFlag(cmd *cobra.Command, into *[]string) {
	cmd.Flags().StringArrayVarP(into, "filename", "f", nil, "file or directory; - for standard input")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if len(*into) == 0 {
			return fmt.Errorf("%s: want files, with -f", cmd.CommandPath())
		}
		return nil
	}
}

func newStageTest(env *Env) *cobra.Command {
	var files []string
	var format string
	r := stage.Rehearsal{Version: strings.TrimPrefix(env.Version, "v")}
	cmd := &cobra.Command{
		Use: "test -f STAGES -f OBJECT", Args: exactly(cobra.NoArgs),
		Short: "Play Stages on an object with a clock of its own, and show what they do to it",
		Long: "Play Stages on an object with a clock of its own, and show what they do to it.\n" +
			"A kind without Stages in the files is played by those that are built in. Equal input has equal output.",
		Example: "  kwokctl stage test -f pod.yaml\n  kwokctl stage test -f kustomize/stage/pod/general -f pod.yaml --seed 7",
	}
	filenameFlag(cmd, &files)
	f := cmd.Flags()
	f.StringVarP(&format, "output", "o", "table", "output format: table, json, yaml")
	f.Uint64Var(&r.Seed, "seed", 0, "seed of random choices")
	f.DurationVar(&r.Until, "until", 5*time.Minute, "end of the time that is played")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !slices.Contains([]string{"table", "json", "yaml"}, format) {
			return fmt.Errorf("-o %q: allowed are table, json, yaml", format)
		}
		if r.Until < 0 {
			return fmt.Errorf("--until %s: want a duration that is not negative", r.Until)
		}
		objs, errs := env.scan(append(slices.Clone(env.configs), files...))
		if len(errs) > 0 {
			return errs[0]
		}
		stages := api.Of[*api.Stage](objs)
		var err error
		if r.Stages, err = withBuiltIn(stages); err != nil {
			return err
		}
		records, err := rehearse(r, api.Of[*api.Raw](objs))
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return fmt.Errorf("no object to play on in %s: add one with -f", strings.Join(files, ", "))
		}
		played := func(s *api.Stage) bool {
			return slices.ContainsFunc(records, func(rec *stage.Record) bool { return rec.Kind == s.Spec.ResourceRef.Kind })
		}
		if len(stages) > 0 && !slices.ContainsFunc(stages, played) {
			fmt.Fprintf(env.say(), "no Stage in %s is for kind %s: the built-in ones play\n", strings.Join(files, ", "), records[0].Kind)
		}
		if err := printRecords(env.Out, format, records, r.Until); err != nil {
			return err
		}
		return failure(records)
	}
	return cmd
}

// rehearse plays on the objects, leaving out those that no stage is for unless all are such.
func rehearse(r stage.Rehearsal, objs []*api.Raw) ([]*stage.Record, error) {
	var records []*stage.Record
	var idle error
	for i := 0; i < len(objs); i++ {
		o := objs[i]
		if items, err := listed(o); err != nil || len(items) > 0 {
			if err != nil {
				return nil, err
			}
			objs = slices.Insert(objs, i+1, items...)
			continue
		}
		rec, err := r.Run(o.JSON)
		if err != nil {
			err = fmt.Errorf("play on %s %s: %w", o.Kind, o.Metadata.Name, err)
		}
		switch {
		case errors.Is(err, stage.ErrNoStages):
			idle = err
		case err != nil:
			return nil, err
		default:
			records = append(records, rec)
		}
	}
	if len(records) == 0 {
		return nil, idle
	}
	return records, nil
}

// listed returns the objects in a list such as kubectl get prints.
func listed(o *api.Raw) ([]*api.Raw, error) {
	var list struct{ Items []json.RawMessage }
	if !strings.HasSuffix(o.Kind, "List") || json.Unmarshal(o.JSON, &list) != nil {
		return nil, nil
	}
	var items []*api.Raw
	for i, text := range list.Items {
		item := &api.Raw{JSON: text}
		if err := json.Unmarshal(text, item); err != nil {
			return nil, fmt.Errorf("read %s: items[%d]: %w", o.Kind, i, err)
		}
		items = append(items, item)
	}
	return items, nil
}

// withBuiltIn adds the built-in stages of the kinds for which there are no others.
func withBuiltIn(stages []*api.Stage) ([]*api.Stage, error) {
	built, err := stage.BuiltIn(true)
	if err != nil {
		return nil, err
	}
	own := map[api.ResourceRef]bool{}
	for _, s := range stages {
		own[s.Spec.ResourceRef] = true
	}
	for _, s := range built {
		if !own[s.Spec.ResourceRef] {
			stages = append(stages, s)
		}
	}
	return stages, nil
}

// failure is the error of the first stage that could not be played.
func failure(records []*stage.Record) error {
	for _, rec := range records {
		if rec.Error != "" {
			return fmt.Errorf("play on %s %s: %s", rec.Kind, rec.Name, rec.Error)
		}
	}
	return nil
}

func printRecords(w io.Writer, format string, records []*stage.Record, until time.Duration) error {
	if format == "json" || format == "yaml" {
		return printAs(w, format, records)
	}
	for i, rec := range records {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s %s\n", rec.Kind, rec.Name)
		t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
		fmt.Fprintln(t, "TIME\tSTAGE\tWHAT")
		at := stage.Elapsed(0)
		for _, tr := range rec.Transitions {
			at = tr.At
			first := fmt.Sprintf("%s\t%s\t", tr.At, tr.Stage)
			for _, line := range lines(tr) {
				fmt.Fprintln(t, first+line)
				first = "\t\t"
			}
		}
		fmt.Fprintf(t, "%s\t\t%s\n", at, end(rec, until))
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// lines say what a transition does: its actions, then what they changed, then what the author should know.
func lines(tr stage.Transition) (all []string) {
	for _, a := range tr.Actions {
		switch a["kind"] {
		case "event":
			all = append(all, fmt.Sprintf("event %v %v: %v", a["type"], a["reason"], a["message"]))
		case "apply":
			obj, _ := a["data"].(map[string]any)
			meta, _ := obj["metadata"].(map[string]any)
			all = append(all, fmt.Sprintf("apply %v %v", obj["kind"], meta["name"]))
		default:
			line := fmt.Sprint(a["kind"])
			if sub, ok := a["subresource"]; ok {
				line += fmt.Sprintf(" %v", sub)
			}
			if mime, ok := a["type"].(string); ok {
				line += " (" + strings.TrimSuffix(strings.TrimPrefix(mime, "application/"), "+json") + ")"
			}
			all = append(all, line)
		}
	}
	for _, c := range tr.Changes {
		all = append(all, "  "+c.String())
	}
	for _, n := range tr.Notes {
		all = append(all, "! "+n)
	}
	return all
}

// end says how a rehearsal ended.
func end(rec *stage.Record, until time.Duration) string {
	switch rec.End {
	case stage.Waiting:
		return fmt.Sprintf("%s is due at %s, after --until %s", rec.Next, rec.Due, until)
	case stage.Endless:
		return fmt.Sprintf("ended after %d transitions; %s would be next", len(rec.Transitions), rec.Next)
	case stage.Failed:
		return "failed"
	}
	return rec.End
}

func newStageLint(env *Env) *cobra.Command {
	var files []string
	cmd := &cobra.Command{Use: "lint -f STAGES", Short: "Name every mistake in Stages", Args: exactly(cobra.NoArgs),
		Example: "  kwokctl stage lint -f stages/"}
	filenameFlag(cmd, &files)
	cmd.RunE = func(*cobra.Command, []string) error {
		objs, errs := env.scan(files)
		for _, err := range errs {
			fmt.Fprintln(env.Out, inDocument(err))
		}
		mistakes, stages := len(errs), api.Of[*api.Stage](objs)
		twice := stage.Twice(stages)
		for _, s := range stages {
			found := stage.Lint(s)
			if m, ok := twice[s]; ok {
				found = append(found, m)
			}
			for _, m := range found {
				field, line := s.Where(m.Field)
				fmt.Fprintf(env.Out, "%s:%d: stage %q: %s: %s (document %d)\n", s.File, line, s.Metadata.Name, field, m.Reason, s.Document())
			}
			mistakes += len(found)
		}
		switch {
		case mistakes > 0:
			return fmt.Errorf("%s in %s", count(mistakes, "mistake"), strings.Join(files, ", "))
		case len(stages) == 0:
			return fmt.Errorf("no Stage in %s", strings.Join(files, ", "))
		}
		fmt.Fprintf(env.say(), "%s, no mistakes\n", count(len(stages), "Stage"))
		return nil
	}
	return cmd
}

// inDocument prints an error with the number of the document it is in, if it is in one.
func inDocument(err error) string {
	var in *api.DocumentError
	if errors.As(err, &in) {
		return fmt.Sprintf("%s (document %d)", err, in.Document)
	}
	return err.Error()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func newStageShow(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "show [SET]", Short: "Print a stage set that is shipped; without SET, their names", Args: exactly(cobra.MaximumNArgs(1)),
		Example: "  kwokctl stage show pod/chaos | kubectl apply -f -"}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		sets, err := kustomize.StageSets()
		if err != nil {
			return err
		}
		if len(args) == 0 {
			fmt.Fprintln(env.Out, strings.Join(sets, "\n"))
			return nil
		}
		if !slices.Contains(sets, args[0]) {
			return fmt.Errorf("no stage set %q; there are %s", args[0], strings.Join(sets, ", "))
		}
		files, err := kustomize.Stages(args[0])
		if err != nil {
			return err
		}
		for i, name := range slices.Sorted(maps.Keys(files)) {
			if i > 0 {
				fmt.Fprintln(env.Out, "---")
			}
			fmt.Fprintf(env.Out, "%s", files[name])
		}
		return nil
	}
	return cmd
}

// scan reads files, and the YAML files of directories, to their ends.
func (e *Env) scan(paths []string) (objs []api.Object, errs []error) {
	for _, path := range paths {
		names := []string{path}
		if info, err := os.Stat(path); path != "-" && err == nil && info.IsDir() {
			found, err := filepath.Glob(filepath.Join(path, "*.yaml"))
			if err != nil {
				return nil, []error{fmt.Errorf("read %s: %w", path, err)}
			}
			names = slices.DeleteFunc(found, func(n string) bool { return filepath.Base(n) == "kustomization.yaml" })
			if len(names) == 0 {
				errs = append(errs, fmt.Errorf("read %s: no .yaml file in it", path))
			}
		}
		for _, name := range names {
			o, err := e.scanFile(name)
			objs, errs = append(objs, o...), append(errs, err...)
		}
	}
	return objs, errs
}

func (e *Env) scanFile(name string) ([]api.Object, []error) {
	if name == "-" {
		return api.Scan(e.In, "standard input")
	}
	file, err := os.Open(name)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return nil, []error{fmt.Errorf("read %s: %w", name, err)}
	}
	defer func() { _ = file.Close() }() // it was only read
	return api.Scan(file, name)
}
