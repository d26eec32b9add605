package cli

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"

	"kwokctl/internal/api"
	"kwokctl/internal/components"
)

// optionFlag is the flag of an option of the table.
type optionFlag struct {
	row   api.Option
	value any // nil until it is given
}

// Set implements pflag.Value. A list grows with each use of its flag.
func (f *optionFlag) Set(text string) error {
	value, err := f.row.Parse(text)
	if err != nil {
		return err
	}
	if list, ok := value.([]string); ok && f.value != nil {
		value = append(f.value.([]string), list...)
	}
	f.value = value
	return nil
}

func (f *optionFlag) String() string {
	if f.value != nil {
		return f.row.Text(f.value)
	}
	return f.row.Text(f.row.Default)
}

// Type implements pflag.Value; it is shown in the help.
func (f *optionFlag) Type() string { return f.row.TypeName() }

// optionFlags defines the flags of all options.
func optionFlags(set *pflag.FlagSet) {
	for _, row := range api.Options() {
		if row.Flag == "" {
			continue
		}
		help := row.Help
		if row.Form == api.PortNumber {
			help += "; 0 for " + row.Unset
		} else if row.Unset != "" {
			help += " (default " + row.Unset + ")"
		}
		f := set.VarPF(&optionFlag{row: row}, row.Flag, "", help)
		if row.TypeName() == "bool" {
			f.NoOptDefVal = "true"
		}
		if f.DefValue == "0" || f.DefValue == "false" || row.Unset != "" {
			f.DefValue = "" // the help says so in words, or it goes without saying
		}
		f.Hidden = row.Instead != ""
	}
}

// setOptions adds what the environment and then the flags say to what files said.
func (e *Env) setOptions(settings *api.Settings, set *pflag.FlagSet) error {
	e.mistyped()
	for _, row := range api.Options() {
		text := ""
		if row.Env != "" {
			text = e.Getenv(row.Variable())
		}
		if text != "" {
			value, err := row.Parse(text)
			if err != nil {
				return fmt.Errorf("%s=%q: %w", row.Variable(), text, err)
			}
			settings.Set(&row, value, row.Variable())
		}
		if f := set.Lookup(row.Flag); f != nil && f.Changed {
			settings.Set(&row, f.Value.(*optionFlag).value, "--"+row.Flag)
		}
	}
	return nil
}

// mistyped names the variables that are nothing to us and look like one that is. Others may be of other tools.
func (e *Env) mistyped() {
	if e.Environ == nil {
		return
	}
	known := []string{strings.TrimPrefix(workdirVariable, "KWOK_")}
	for _, row := range api.Options() {
		if row.Env != "" {
			known = append(known, row.Env)
		}
	}
	for _, entry := range e.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(name, "KWOK_")
		if near := api.Nearest(rest, known); ours && near != "" && near != rest {
			fmt.Fprintf(e.Err, "%s is ignored: there is no such variable; did you mean KWOK_%s?\n", name, near)
		}
	}
}

// deprecated names the options that were given and will go.
func (e *Env) deprecated(settings *api.Settings) {
	for _, row := range api.Options() {
		if row.Instead != "" && settings.Has(row.Field) {
			fmt.Fprintf(e.Err, "%s is deprecated; use %s\n", settings.Source(row.Field), row.Instead)
		}
	}
}

// configuration returns what files, environment and flags ask for together, with the times of nodes multiplied.
func (e *Env) configuration(set *pflag.FlagSet) (*api.KwokctlConfiguration, *documents, error) {
	docs, err := e.documents()
	if err != nil {
		return nil, nil, err
	}
	if err := e.setOptions(docs.settings, set); err != nil {
		return nil, nil, err
	}
	cfg, err := docs.settings.Configuration()
	if err != nil {
		return nil, nil, err
	}
	if err := cfg.Options.Scale(); err != nil {
		return nil, nil, err
	}
	level, err := parseLevel(e.verbosity)
	if err != nil {
		return nil, nil, err
	}
	if level != slog.LevelInfo {
		err = components.Verbosity(cfg, level)
	}
	return cfg, docs, err
}
