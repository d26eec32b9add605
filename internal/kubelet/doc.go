// Package kubelet is the nodes' HTTP side: logs, exec, attach, port-forward, metrics.
package kubelet
