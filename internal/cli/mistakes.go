package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kwokctl/internal/api"
)

// group refuses what is no sub-command, and says what is one.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint := api.DidYouMean(args[0], names)
	if hint == "" {
		hint = "; there are " + strings.Join(names, ", ")
	}
	return fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), hint)
}

// exactly wraps cobra's checks of arguments so that a mistake shows which are wanted.
func exactly(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			got := "no arguments"
			if len(args) > 0 {
				got = fmt.Sprintf("arguments %q", args)
			}
			return fmt.Errorf("got %s, want: %s", got, cmd.UseLine())
		}
		return nil
	}
}

// refuseLines makes flags that are lists refuse a text of several lines, of which their parser would take the first.
func refuseLines(cmd *cobra.Command) {
	for _, flags := range []*pflag.FlagSet{cmd.PersistentFlags(), cmd.Flags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if v, ok := f.Value.(listValue); ok && v.Type() == "stringSlice" {
				f.Value = lineValue{v}
				if f.DefValue == "[]" { // help leaves that out of the types it knows alone
					f.DefValue = ""
				}
			}
		})
	}
	for _, c := range cmd.Commands() {
		refuseLines(c)
	}
}

type listValue interface {
	pflag.Value
	pflag.SliceValue
}

type lineValue struct{ listValue }

func (v lineValue) Set(text string) error {
	if strings.Contains(strings.TrimRight(text, "\n"), "\n") {
		return errors.New("want one line, with commas between")
	}
	return v.listValue.Set(text)
}

// flagMistake says of a flag that cobra refuses what is allowed.
func flagMistake(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		wrong   *pflag.InvalidValueError
	)
	switch {
	case errors.As(err, &unknown):
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Deprecated == "" {
				names = append(names, "--"+f.Name)
			}
		})
		hint := api.DidYouMean("--"+unknown.GetSpecifiedName(), names)
		if hint == "" || unknown.GetSpecifiedShortnames() != "" {
			hint = "; " + cmd.CommandPath() + " --help lists them"
		}
		return fmt.Errorf("%w%s", err, hint)
	case errors.As(err, &wrong):
		want := wrong.Unwrap().Error()
		if _, ours := wrong.GetFlag().Value.(*optionFlag); !ours {
			want = wanted(wrong.GetFlag().Value.Type(), want)
		}
		return fmt.Errorf("--%s %q: %s", wrong.GetFlag().Name, wrong.GetValue(), want)
	}
	return err
}

// wanted describes the values of a flag by its type, where pflag would quote a parser, which says what is wrong.
func wanted(flagType, parser string) string {
	switch {
	case flagType == "duration":
		return "want a duration such as 90s or 2m30s"
	case strings.Contains(parser, "strconv."):
		return "want " + api.TypeInWords(flagType)
	}
	return parser
}

// wrongType is what the parser of JSON says of values.
var wrongType = regexp.MustCompile(`(?:error unmarshaling JSON: )?(?:while decoding JSON: )?(?:json: )?cannot unmarshal (\w+(?: [-\d.eE+]+)?) into Go (?:struct field \w+\.(\S+)|value) of type (struct \{.*\}|[^\s;,]+)`)

// inWords says it in the user's words.
func inWords(text string) string {
	text = wrongType.ReplaceAllStringFunc(text, func(found string) string {
		m := wrongType.FindStringSubmatch(found)
		field := ""
		if m[2] != "" {
			field = m[2] + ": "
		}
		return field + "want " + api.TypeInWords(m[3]) + ", not " + m[1]
	})
	return api.NumbersInWords(text)
}
