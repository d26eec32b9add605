package api

import (
	"strings"
	"testing"
)

func TestKwokOptions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		set  func(*KwokOptions)
		want string // "": fine
	}{
		{func(*KwokOptions) {}, ""},
		{func(o *KwokOptions) { o.NodeIP, o.ServerAddress, o.NodePort = "::1", ":10247", 10247 }, ""},
		{func(o *KwokOptions) { o.ServerAddress = "[::1]:0" }, ""},
		{func(o *KwokOptions) { o.CIDR = "10.0.0.0" }, `cidr "10.0.0.0"`},
		{func(o *KwokOptions) { o.NodeIP = "10.0.0.300" }, `nodeIP "10.0.0.300": want an IP address`},
		{func(o *KwokOptions) { o.NodePort = 70000 }, "nodePort 70000: allowed are 1 to 65535"},
		{func(o *KwokOptions) { o.ServerAddress = "localhost" }, `serverAddress "localhost": want HOST:PORT`},
		{func(o *KwokOptions) { o.ServerAddress = "localhost:http" }, `serverAddress "localhost:http"`},
		{func(o *KwokOptions) { o.ServerAddress = "localhost:65536" }, `serverAddress "localhost:65536"`},
	} {
		o := NewKwokConfiguration().Options
		tt.set(&o)
		err := o.Check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}
