package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kwokctl/internal/api"
	"kwokctl/internal/files"
)

func newConfig(env *Env) *cobra.Command {
	return parent("config", "Look at, store, remove or modernize configuration",
		newConfigView(env), newConfigTidy(env), newConfigReset(env), newConfigConvert(env))
}

func newConfigView(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "view", Short: "Print the configuration that a new cluster would get: files, environment and defaults together", Args: exactly(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			docs, err := env.documents()
			if err != nil {
				return err
			}
			if err := env.setOptions(docs.settings, pflag.NewFlagSet("", pflag.ContinueOnError)); err != nil {
				return err
			}
			cfg, err := docs.settings.Configuration()
			if err != nil {
				return err
			}
			others, err := docs.others()
			if err != nil {
				return err
			}
			text, err := encode(append([]api.Object{cfg}, others...))
			if err != nil {
				return err
			}
			_, err = env.Out.Write(text)
			return err
		},
	}
}

func newConfigTidy(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "tidy", Short: "Write what all files say together, and nothing that is a default, to kwok.yaml in the work directory", Args: exactly(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			home, err := env.home()
			if err != nil {
				return err
			}
			docs, err := env.documents()
			if err != nil {
				return err
			}
			if _, err := docs.settings.Configuration(); err != nil { // what is stored is to be right
				return err
			}
			said, err := docs.said()
			if err != nil {
				return err
			}
			text, err := encode(said)
			if err != nil {
				return err
			}
			path := filepath.Join(home.Dir, "kwok.yaml")
			if env.dryRun {
				_, err := fmt.Fprintf(env.Out, "# Tidy the config file\ncat <<EOF >%s\n%sEOF\n", path, text)
				return err
			}
			if err := files.MkdirPrivate(home.Dir); err != nil {
				return err
			}
			if err := files.WriteAtomic(path, text, 0o600); err != nil {
				return err
			}
			fmt.Fprintf(env.say(), "Wrote %s.\n", path)
			return nil
		},
	}
}

// said returns what files say, without defaults.
func (d *documents) said() ([]api.Object, error) {
	cfg, err := d.settings.Document()
	if err != nil {
		return nil, err
	}
	all := []api.Object{cfg}
	if len(d.kwok) > 0 {
		kwok, err := api.KwokDocument(d.kwok)
		if err != nil {
			return nil, err
		}
		all = append(all, kwok)
	}
	return append(all, d.rest...), nil
}

func newConfigReset(env *Env) *cobra.Command {
	return &cobra.Command{
		Use: "reset", Short: "Remove kwok.yaml from the work directory", Args: exactly(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			home, err := env.home()
			if err != nil {
				return err
			}
			path := filepath.Join(home.Dir, "kwok.yaml")
			if env.dryRun {
				_, err := fmt.Fprintf(env.Out, "# Removing config file %s\nrm %s\n", path, path)
				return err
			}
			err = os.Remove(path)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove %s: there is no such file", path)
			}
			if err == nil {
				fmt.Fprintf(env.say(), "Removed %s.\n", path)
			}
			return err
		},
	}
}

func newConfigConvert(env *Env) *cobra.Command {
	var write bool
	cmd := &cobra.Command{
		Use: "convert [FILE...]", Short: "Print configuration files with outdated forms replaced by what they mean",
		RunE: func(_ *cobra.Command, paths []string) error {
			var errs []error
			printed := false
			for _, path := range paths {
				text, err := env.convert(path)
				switch {
				case err != nil:
					errs = append(errs, err)
				case len(text) == 0:
					fmt.Fprintf(env.Err, "%s: no documents; left as it is\n", path)
				case env.dryRun:
					fmt.Fprintf(env.Out, "# Converting %s\n", path)
				case write:
					errs = append(errs, replace(path, text))
				default:
					if printed {
						text = append([]byte("\n---\n"), text...)
					}
					printed = true
					if _, err := env.Out.Write(text); err != nil {
						return err
					}
				}
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the files instead of printing them")
	return cmd
}

// convert returns the documents of a file in their present form.
func (e *Env) convert(path string) ([]byte, error) {
	objs, err := e.read(path)
	if err != nil {
		return nil, err
	}
	for i, o := range objs {
		if c, ok := o.(*api.KwokctlConfiguration); ok {
			var one api.Settings
			if err := one.Add(c); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			if objs[i], err = one.Document(); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return save(objs)
}

// replace writes a file of the user's with the mode it has.
func replace(path string, text []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return files.WriteAtomic(path, text, info.Mode().Perm())
}

// encode writes documents sorted by kind.
func encode(objs []api.Object) ([]byte, error) {
	slices.SortStableFunc(objs, func(a, b api.Object) int { return cmp.Compare(a.Type().Kind, b.Type().Kind) })
	return save(objs)
}

// save writes documents with an empty line between them.
func save(objs []api.Object) ([]byte, error) {
	var b bytes.Buffer
	for i, o := range objs {
		if i > 0 {
			b.WriteString("\n---\n")
		}
		if err := api.Save(&b, o); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}
