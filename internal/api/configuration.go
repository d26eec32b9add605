package api

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// KwokConfiguration is the configuration of the controller.
type KwokConfiguration struct {
	TypeMeta `json:",inline"`
	Metadata ObjectMeta  `json:"metadata,omitzero"`
	Options  KwokOptions `json:"options,omitzero"`
	Tracing  Tracing     `json:"tracing,omitzero"`

	raw []byte // as read, so that MergeKwok can tell what was set
}

// Meta returns the metadata.
func (c *KwokConfiguration) Meta() *ObjectMeta { return &c.Metadata }

// Tracing says where spans go.
type Tracing struct {
	Endpoint               string `json:"endpoint,omitempty"`
	SamplingRatePerMillion int32  `json:"samplingRatePerMillion,omitempty"`
}

// KwokOptions are the options of the controller.
type KwokOptions struct {
	EnableCRDs                            []string `json:"enableCRDs,omitempty"`
	CIDR                                  string   `json:"cidr,omitempty"`
	NodeIP                                string   `json:"nodeIP,omitempty"`
	NodeName                              string   `json:"nodeName,omitempty"`
	NodePort                              int      `json:"nodePort,omitempty"`
	TLSCertFile                           string   `json:"tlsCertFile,omitempty"`
	TLSPrivateKeyFile                     string   `json:"tlsPrivateKeyFile,omitempty"`
	ClientCAFile                          string   `json:"clientCAFile,omitempty"`
	ManageSingleNode                      string   `json:"manageSingleNode,omitempty"`
	ManageAllNodes                        bool     `json:"manageAllNodes,omitempty"`
	ManageNodesWithAnnotationSelector     string   `json:"manageNodesWithAnnotationSelector,omitempty"`
	ManageNodesWithLabelSelector          string   `json:"manageNodesWithLabelSelector,omitempty"`
	DisregardStatusWithAnnotationSelector string   `json:"disregardStatusWithAnnotationSelector,omitempty"`
	DisregardStatusWithLabelSelector      string   `json:"disregardStatusWithLabelSelector,omitempty"`
	ServerAddress                         string   `json:"serverAddress,omitempty"`
	EnableDebuggingHandlers               bool     `json:"enableDebuggingHandlers"`
	EnableProfilingHandler                bool     `json:"enableProfilingHandler,omitempty"`
	EnableContentionProfiling             bool     `json:"enableContentionProfiling,omitempty"`
	PodPlayStageParallelism               uint     `json:"podPlayStageParallelism"`
	NodePlayStageParallelism              uint     `json:"nodePlayStageParallelism"`
	NodeLeaseDurationSeconds              uint     `json:"nodeLeaseDurationSeconds,omitempty"`
	NodeLeaseParallelism                  uint     `json:"nodeLeaseParallelism"`
	PodsOnNodeSyncParallelism             uint     `json:"podsOnNodeSyncParallelism"`
	EnablePodsOnNodeSyncListPager         bool     `json:"enablePodsOnNodeSyncListPager"`
	EnablePodsOnNodeSyncStreamWatch       bool     `json:"enablePodsOnNodeSyncStreamWatch,omitempty"`
}

// NewKwokConfiguration returns the defaults. They hold per field: a document sets only what it names. Profiling is off
// unless asked for: it shows what the process holds to anyone who reaches its port.
func NewKwokConfiguration() *KwokConfiguration {
	return &KwokConfiguration{
		TypeMeta: TypeMeta{APIVersion: ConfigVersion, Kind: "KwokConfiguration"},
		Options: KwokOptions{
			CIDR:                          "10.0.0.0/24",
			EnableDebuggingHandlers:       true,
			PodPlayStageParallelism:       4,
			NodePlayStageParallelism:      4,
			NodeLeaseParallelism:          4,
			PodsOnNodeSyncParallelism:     1,
			EnablePodsOnNodeSyncListPager: true,
		},
	}
}

// MergeKwok lays the configurations over each other in order; a later one wins in the fields it sets.
func MergeKwok(docs []*KwokConfiguration) (*KwokConfiguration, error) {
	merged := NewKwokConfiguration()
	for _, d := range docs {
		if d.raw == nil {
			*merged = *d
			continue
		}
		if err := json.Unmarshal(d.raw, merged); err != nil {
			return nil, fmt.Errorf("merge KwokConfiguration %q: %w", d.Metadata.Name, err)
		}
	}
	return merged, nil
}

// Check returns the first option whose value cannot be.
func (o *KwokOptions) Check() error {
	switch {
	case !isPrefix(o.CIDR):
		return fmt.Errorf("cidr %q: want one such as 10.0.0.0/24", o.CIDR)
	case o.NodeIP != "" && net.ParseIP(o.NodeIP) == nil:
		return fmt.Errorf("nodeIP %q: want an IP address", o.NodeIP)
	case o.NodePort != 0 && !IsPort(o.NodePort):
		return fmt.Errorf("nodePort %d: allowed are 1 to 65535, and 0 for none", o.NodePort)
	case o.ServerAddress != "" && !isAddress(o.ServerAddress):
		return fmt.Errorf("serverAddress %q: want HOST:PORT, such as 0.0.0.0:10247", o.ServerAddress)
	}
	return nil
}

func isPrefix(text string) bool {
	_, err := netip.ParsePrefix(text)
	return err == nil
}

// isAddress tells whether one can listen on an address: without a host on all there are, and on port 0 on a free one.
func isAddress(text string) bool {
	_, port, err := net.SplitHostPort(text)
	number, bad := strconv.Atoi(port)
	return err == nil && bad == nil && (number == 0 || IsPort(number))
}

// IsPort tells whether a number is that of a port.
func IsPort(number int) bool { return number >= 1 && number <= 65535 }
