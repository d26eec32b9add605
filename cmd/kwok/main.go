// Command kwok is the controller alone, for clusters that exist already.
package main

import (
	"context"
	"os"

	"kwokctl/internal/controller"
)

func main() {
	os.Exit(controller.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
