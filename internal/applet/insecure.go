package applet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"kwokctl/internal/kube"
)

// insecureProxy serves the API, on the loopback address unless it is told another one, without TLS and without asking who calls.
func insecureProxy() int {
	if !enter(os.Args[0], false) {
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := proxyUntil(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		return 1
	}
	return 0
}

func proxyUntil(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet(os.Args[0], pflag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the user that callers become")
	address := flags.String("address", "127.0.0.1", "address to listen on; who asks must name this machine anyway")
	port := flags.Int("port", 8001, "port to listen on")
	switch err := flags.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		return nil
	case err != nil:
		return err
	}
	config, err := kube.Connect(*kubeconfig, "")
	if err != nil {
		return err
	}
	config.UserAgent = "kwokctl-insecure-proxy"
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	handler, err := kube.NewProxy(config, log)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(*address, strconv.Itoa(*port)))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	log.Info("serving the API to every program of this machine, as administrator", "address", listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
