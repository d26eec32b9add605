// Package audit is about the API server's audit log: the policy that it follows, its files, and what they tell.
package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit/policy"
	"sigs.k8s.io/yaml"
)

// maxPolicy is the size of a policy file, in bytes, that nobody needs.
const maxPolicy = 1 << 20

// ReadPolicy reads a policy file and checks it as the API server will, and besides for fields that do not exist,
// which the API server passes over.
func ReadPolicy(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	if info.Size() > maxPolicy {
		return nil, fmt.Errorf("%s: larger than %d MiB", path, maxPolicy>>20)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPolicy))
	if err == nil {
		err = CheckPolicy(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return text, nil
}

// CheckPolicy says what is wrong with a policy.
func CheckPolicy(text []byte) error {
	if strings.TrimSpace(string(text)) == "" {
		return errors.New("empty; want a Policy of audit.k8s.io/v1")
	}
	var p auditv1.Policy
	if err := yaml.UnmarshalStrict(text, &p); err != nil {
		return oneLine(err)
	}
	if p.Kind != "Policy" || p.APIVersion != auditv1.SchemeGroupVersion.String() {
		return fmt.Errorf("kind %q of %q; want Policy of %s", p.Kind, p.APIVersion, auditv1.SchemeGroupVersion)
	}
	if _, err := policy.LoadPolicyFromBytes(text); err != nil {
		return oneLine(err)
	}
	return nil
}

// oneLine drops what the YAML reader says of its own inner life, and the ends of lines.
func oneLine(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	for _, prefix := range []string{"error converting YAML to JSON: ", "error unmarshaling JSON: ", "while decoding JSON: ", "json: ", "yaml: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return errors.New(text)
}
