package celery

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// A Flower route reveals nothing about tasks that it does not list. It recognizes its own IDs
// without storing them: the last group of digits is a keyed hash of the other groups and of
// the route's list of tasks. So IDs stay valid after a restart, and in other processes with
// the same configuration.

// signedFrom is the index of the hash in a UUID.
const signedFrom = len("xxxxxxxx-xxxx-4xxx-yxxx-")

// flowerID returns a new ID.
func (h *Handler) flowerID() string {
	id := celery.NewID()[:signedFrom]
	return id + h.signature(id)
}

// gave reports whether this route has made the ID.
func (h *Handler) gave(id string) bool {
	return len(id) > signedFrom && hmac.Equal([]byte(id[signedFrom:]), []byte(h.signature(id[:signedFrom])))
}

// signature returns the hash for the first groups of an ID. The key is derived from the URLs of
// the servers with their passwords, which only readers of the configuration know.
func (h *Handler) signature(id string) string {
	key := sha256.Sum256([]byte(h.servers.Broker + "\n" + h.servers.Backend + "\n" + h.servers.SentinelPassword))
	mac := hmac.New(sha256.New, key[:])
	fmt.Fprintf(mac, "%s %q", id, h.Tasks)
	return hex.EncodeToString(mac.Sum(nil)[:6])
}

// flowerSubject sets the ID of the task that the request asks about, if the route lists that
// task. For an ID that the route has not made, the backend must have stored the task's name.
func (tr *taskRequest) flowerSubject(id string) error {
	if !tr.h.gave(id) {
		name, err := tr.storedName(id)
		if err != nil {
			return err
		}
		if name == "" || !matches(tr.h.Tasks, name) {
			return fail(unknownTask, "there is no such task")
		}
	}
	tr.task.ID, tr.sent = id, true
	return nil
}

// storedName returns the name of a task, or "" if the backend has not stored it.
func (tr *taskRequest) storedName(id string) (string, error) {
	store, ok := tr.link.backend.(celery.Store)
	if !ok {
		return "", nil
	}
	payload, err := store.Fetch(tr.r.Context(), id)
	if err != nil || payload == nil {
		return "", err
	}
	result, err := celery.DecodeResult(payload)
	return result.Name, err
}

// maxID is the longest ID of a task, in bytes.
const maxID = 255

// validID rejects IDs that would corrupt keys, log lines or commands to workers.
func validID(id string) bool {
	return id != "" && len(id) <= maxID && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}
