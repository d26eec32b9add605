package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kwokctl/internal/api"
)

// generated heads the pages that a test holds against the program.
const generated = "<!-- made by: go test ./internal/cli -update -->\n"

// optionReference is the page of all options of a cluster.
func optionReference() string {
	var b strings.Builder
	b.WriteString(generated + `# Options of a cluster

Each option can be given as a flag of ` + "`create cluster`" + `, as an environment variable, or as a field of ` + "`options`" + ` in a
KwokctlConfiguration. A flag wins over a variable, a variable over files named with ` + "`--config`" + `, these over
` + "`kwok.yaml`" + ` in the work directory, and that over the default. A cluster keeps the options it was made with.

| field | flag | variable | type | default | meaning |
| --- | --- | --- | --- | --- | --- |
`)
	for _, o := range api.Options() {
		flag, variable, value := "", "", o.Text(o.Default)
		if o.Flag != "" {
			flag = "`--" + o.Flag + "`"
		}
		if o.Env != "" {
			variable = "`" + o.Variable() + "`"
		}
		if o.Unset != "" {
			value = o.Unset
		}
		help := o.Help
		if o.Instead != "" {
			help += "; deprecated, use `" + o.Instead + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", o.Field, flag, variable, o.TypeName(), value, help)
	}
	return b.String()
}

// commandReference is the page of all commands and their flags.
func commandReference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(generated + "# Commands\n\nFlags of every command, before or behind its name (before it for kubectl, etcdctl and other tools):\n\n")
	writeFlags(&b, root.PersistentFlags())
	writeCommand(&b, root)
	return b.String()
}

func writeCommand(b *strings.Builder, cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if !c.IsAvailableCommand() || c.Name() == "completion" {
			continue
		}
		if c.HasSubCommands() {
			writeCommand(b, c)
			continue
		}
		fmt.Fprintf(b, "\n## %s\n\n%s.\n", strings.TrimSuffix(c.UseLine(), " [flags]"), c.Short)
		if c.Example != "" {
			fmt.Fprintf(b, "\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
		}
		if c.LocalNonPersistentFlags().HasAvailableFlags() {
			b.WriteString("\n")
			writeFlags(b, c.LocalNonPersistentFlags())
		}
		if c.CommandPath() == "kwokctl create cluster" {
			b.WriteString("\nThe rest are [options of the cluster](options.md).\n")
		}
	}
}

func writeFlags(b *strings.Builder, set *pflag.FlagSet) {
	b.WriteString("| flag | default | meaning |\n| --- | --- | --- |\n")
	set.VisitAll(func(f *pflag.Flag) {
		if _, option := f.Value.(*optionFlag); option || f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", name, strings.Trim(f.DefValue, "[]"), strings.ReplaceAll(f.Usage, "|", "\\|"))
	})
}
