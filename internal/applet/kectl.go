package applet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/grpclog"

	"kwokctl/internal/kectl"
)

// kectlFlags are those that all commands of kectl have.
type kectlFlags struct {
	config    clientv3.Config
	endpoints string // one text and no list, to which kwokctl's and the user's would be added
	tls       transport.TLSInfo
	command   time.Duration // limit of one command that ends by itself
	prefix    string
	chunk     int64
	output    string
	path      string
	watch     bool
	only      bool // changes only
	sel       kectl.Selection
}

// kectlMain reads and writes objects in etcd.
func kectlMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	var f kectlFlags
	cmd := &cobra.Command{Use: "kectl", Short: "Read and write objects in etcd, without the API server", SilenceErrors: true, SilenceUsage: true}
	p := cmd.PersistentFlags()
	p.StringVar(&f.endpoints, "endpoints", "http://127.0.0.1:2379", "where etcd listens; several are separated by commas")
	p.DurationVar(&f.config.DialTimeout, "dial-timeout", 2*time.Second, "time limit of a connection")
	p.DurationVar(&f.command, "command-timeout", 0, "time limit of a command; 0 for none")
	p.DurationVar(&f.config.DialKeepAliveTime, "keepalive-time", 2*time.Second, "time between signs of life")
	p.DurationVar(&f.config.DialKeepAliveTimeout, "keepalive-timeout", 6*time.Second, "time to wait for one")
	p.StringVar(&f.config.Username, "user", "", "user of etcd")
	p.StringVar(&f.config.Password, "password", "", "password of that user")
	p.StringVar(&f.tls.CertFile, "cert", "", "client certificate")
	p.StringVar(&f.tls.KeyFile, "key", "", "key of the client certificate")
	p.StringVar(&f.tls.TrustedCAFile, "cacert", "", "authority of etcd's certificate")
	p.BoolVar(&f.tls.InsecureSkipVerify, "insecure-skip-tls-verify", false, "do not check etcd's certificate")
	p.Bool("insecure-transport", true, "without meaning: the scheme of the endpoint decides")
	p.StringVar(&f.prefix, "prefix", "/registry", "prefix of all keys: the API server's --etcd-prefix")
	p.StringVarP(&f.sel.Namespace, "namespace", "n", "", "namespace; default if not given")
	p.BoolVarP(&f.sel.All, "all-namespace", "A", false, "all namespaces")
	p.BoolVar(&f.sel.All, "all-namespaces", false, "all namespaces")
	p.StringVarP(&f.output, "output", "o", "key", "format: "+strings.Join(kectl.Formats(), ", "))
	p.Int64Var(&f.chunk, "chunk-size", 500, "objects read at once")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(kectl.Formats(), cobra.ShellCompDirectiveNoFileComp))

	get := &cobra.Command{Use: "get [RESOURCE] [NAME]", Short: "Show objects, or their keys", Args: cobra.MaximumNArgs(2), RunE: f.run(kectlGet)}
	get.Flags().BoolVarP(&f.watch, "watch", "w", false, "then show changes until interrupted")
	get.Flags().BoolVar(&f.only, "watch-only", false, "show changes until interrupted")
	put := &cobra.Command{Use: "put [RESOURCE] [NAME]", Short: "Write the objects of a file that are selected", Args: cobra.MaximumNArgs(2), RunE: f.run(kectlPut)}
	put.Flags().StringVar(&f.path, "path", "", "file of YAML or JSON; - for standard input")
	_ = put.MarkFlagRequired("path")
	del := &cobra.Command{Use: "delete [RESOURCE] [NAME]", Aliases: []string{"del"}, Short: "Remove objects at once, whatever depends on them", Args: cobra.MaximumNArgs(2), RunE: f.run(kectlDelete)}
	cmd.AddCommand(get, put, del)
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "kectl: %v\n", err)
		return 1
	}
	return 0
}

// run connects and does one command.
func (f *kectlFlags) run(do func(ctx context.Context, f *kectlFlags, s *kectl.Store, out kectl.Output) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(kectl.Formats(), f.output) {
			return fmt.Errorf("-o %q: allowed are %s", f.output, strings.Join(kectl.Formats(), ", "))
		}
		for name, d := range map[string]time.Duration{"command-timeout": f.command, "dial-timeout": f.config.DialTimeout} {
			if d < 0 {
				return fmt.Errorf("--%s %s: must not be negative", name, d)
			}
		}
		if f.chunk < 1 {
			return fmt.Errorf("--chunk-size %d: must be 1 or more", f.chunk)
		}
		if len(args) > 0 {
			f.sel.Resource, f.sel.Name, _ = strings.Cut(args[0], "/")
		}
		if len(args) > 1 {
			f.sel.Name = args[1]
		}
		client, err := f.connect(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		return do(cmd.Context(), f, &kectl.Store{Etcd: client, Prefix: f.prefix, Chunk: f.chunk}, kectl.Output{Format: f.output, W: cmd.OutOrStdout()})
	}
}

func (f *kectlFlags) connect(ctx context.Context) (*clientv3.Client, error) {
	f.config.Context, f.config.Logger, f.config.Endpoints = ctx, zap.NewNop(), strings.Split(f.endpoints, ",")
	local := strings.HasPrefix(f.endpoints, "unix:") // where nobody speaks TLS
	if !local && (f.tls.CertFile != "" || f.tls.KeyFile != "" || f.tls.TrustedCAFile != "" || f.tls.InsecureSkipVerify) {
		config, err := f.tls.ClientConfig()
		if err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
		f.config.TLS = config
	}
	client, err := clientv3.New(f.config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", f.endpoints, err)
	}
	// The client would wait for ever for an etcd that is not there.
	try, cancel := context.WithTimeout(ctx, f.config.DialTimeout)
	defer cancel()
	if _, err := client.Status(try, f.config.Endpoints[0]); err != nil {
		client.Close()
		return nil, fmt.Errorf("etcd does not answer at %s; does the cluster run?", f.endpoints)
	}
	return client, nil
}

// limited bounds a command that ends by itself.
func (f *kectlFlags) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.command > 0 {
		return context.WithTimeout(ctx, f.command)
	}
	return context.WithCancel(ctx)
}

func kectlGet(ctx context.Context, f *kectlFlags, s *kectl.Store, out kectl.Output) error {
	revision := int64(0)
	if !f.only {
		short, cancel := f.limited(ctx)
		defer cancel()
		count, at, err := s.Get(short, f.sel, out)
		if err != nil {
			return err
		}
		if f.sel.Name != "" && count == 0 && !f.watch {
			return fmt.Errorf("%s %q: not in etcd", f.sel.Resource, f.sel.Name)
		}
		if f.output == "key" || f.output == "none" {
			fmt.Fprintf(os.Stderr, "%d objects\n", count)
		}
		revision = at + 1
	}
	if !f.watch && !f.only {
		return nil
	}
	err := s.Watch(ctx, f.sel, revision, out)
	if ctx.Err() != nil {
		return nil // that is how watching ends
	}
	return err
}

func kectlPut(ctx context.Context, f *kectlFlags, s *kectl.Store, out kectl.Output) error {
	ctx, cancel := f.limited(ctx)
	defer cancel()
	in := io.Reader(os.Stdin)
	if f.path != "-" {
		file, err := os.Open(f.path)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	count, err := s.Put(ctx, in, f.sel, out)
	if err == nil && count == 0 {
		return errors.New("put: nothing in the file is selected; by default only namespace default is")
	}
	return err
}

func kectlDelete(ctx context.Context, f *kectlFlags, s *kectl.Store, out kectl.Output) error {
	ctx, cancel := f.limited(ctx)
	defer cancel()
	_, err := s.Delete(ctx, f.sel, out)
	return err
}
