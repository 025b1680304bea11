package celery

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
)

// renamed maps former names of options to the present ones. A configuration with a
// former name is rejected: an option that is ignored would hide the change.
var renamed = map[string]string{"patience": "reconnect_timeout"}

// checkRenamed rejects the former name of an option in a Caddyfile.
func checkRenamed(b *caddyfileblock.Block) error {
	if name, ok := renamed[b.Option]; ok {
		return b.D.Errf("'%s' is now '%s'", b.Option, name)
	}
	return nil
}

// UnmarshalJSON rejects the former names of options. Other unknown keys are errors as
// well, as Caddy's decoder of modules has them.
func (h *Handler) UnmarshalJSON(text []byte) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return err
	}
	for former, name := range renamed {
		if _, ok := keys[former]; ok {
			return errors.New("'" + former + "' is now '" + name + "'")
		}
	}
	type plain Handler // without this method, which would call itself
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode((*plain)(h))
}
