package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kwokctl/internal/stage"
)

// fieldManager owns the fields that apply steps set.
const fieldManager = "kwok"

// apply creates another object, or changes it if it is there. With a subresource it must be there.
func (s *sender) apply(ctx context.Context, m *moveJob, a *stage.Action, in lane) (reply, error) {
	obj, _ := a.Data.(map[string]any)
	meta, _ := obj["metadata"].(map[string]any)
	version, _ := obj["apiVersion"].(string)
	kind, _ := obj["kind"].(string)
	name, _ := meta["name"].(string)
	namespace, _ := meta["namespace"].(string)
	where, err := s.find.Resource(ctx, version, kind)
	if err != nil {
		return reply{}, fmt.Errorf("apply %s %s: %w", kind, name, err)
	}
	if namespace == "" && where.Namespaced {
		if namespace = m.refer.Namespace; namespace == "" {
			namespace = "default"
		}
	}
	body, err := json.Marshal(obj)
	if err != nil {
		return reply{}, fmt.Errorf("apply %s %s: %w", kind, name, err)
	}
	path := where.Path(namespace, name)
	if a.Subresource == "" {
		rep := s.do.Do(ctx, &request{lane: in, method: http.MethodPost, path: where.Path(namespace, "") + "?fieldManager=" + fieldManager,
			ctype: "application/json", accept: metaOnlyAny, as: a.As, body: body})
		if st := statusOf(rep.body); rep.code != http.StatusConflict || st == nil || st.Reason != metav1.StatusReasonAlreadyExists {
			return rep, nil
		}
	} else {
		path += "/" + a.Subresource
	}
	path += "?fieldManager=" + fieldManager
	if a.Type == stage.ApplyPatch {
		path += "&force=true"
	}
	rep := s.do.Do(ctx, &request{lane: in, method: http.MethodPatch, path: path, ctype: a.Type, accept: metaOnlyAny, as: a.As, body: body})
	if rep.gone() { // it is not the object itself that is gone
		return rep, fmt.Errorf("apply %s %s: %w", kind, name, rep.fault())
	}
	return rep, nil
}
