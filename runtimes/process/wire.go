//go:build linux || darwin

package process

import "kwokctl/runtimes"

// The supervisor's HTTP interface: JSON in, JSON out.
//
//	GET  /status  statusReply
//	POST /start   startRequest; a stream of startEvent, the last of which has Done, Exit or Error
//	POST /stop    stopRequest; stopReply when they are gone
//
// An error is a status other than 200 with an errorReply.

type statusReply struct {
	Supervisor identity          `json:"supervisor"`
	Components []runtimes.Status `json:"components"`
}

type startRequest struct {
	Specs []runtimes.Spec `json:"specs"`
}

type startEvent struct {
	Status *runtimes.Status    `json:"status,omitempty"`
	Exit   *runtimes.ExitError `json:"exit,omitempty"`
	Error  string              `json:"error,omitempty"`
	Done   bool                `json:"done,omitempty"`
}

type stopRequest struct {
	Names []string `json:"names"`
	Kill  bool     `json:"kill"`
}

type stopReply struct {
	Killed  []string `json:"killed"`
	Exiting bool     `json:"exiting"` // nothing is left: the supervisor ends now
}

type errorReply struct {
	Error   string `json:"error"`
	Exiting bool   `json:"exiting"` // the supervisor ends; ask its successor
}
