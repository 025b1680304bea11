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

// A Flower route gives out nothing about tasks that it does not list. It knows the IDs
// that it has given by the IDs themselves: the last group of their digits is a keyed hash
// of the others and of what the route lists. So IDs are known after a restart, and to
// other processes with the same configuration.

// signedFrom is where the hash begins in a UUID.
const signedFrom = len("xxxxxxxx-xxxx-4xxx-yxxx-")

// flowerID returns a new ID.
func (h *Handler) flowerID() string {
	id := celery.NewID()[:signedFrom]
	return id + h.signature(id)
}

// gave reports whether the route has given an ID.
func (h *Handler) gave(id string) bool {
	return len(id) > signedFrom && hmac.Equal([]byte(id[signedFrom:]), []byte(h.signature(id[:signedFrom])))
}

// signature of the first groups of an ID. Its key is what only those know who may see
// the configuration, with the passwords of the servers.
func (h *Handler) signature(id string) string {
	key := sha256.Sum256([]byte(h.servers.Broker + "\n" + h.servers.Backend + "\n" + h.servers.SentinelPassword))
	mac := hmac.New(sha256.New, key[:])
	fmt.Fprintf(mac, "%s %q", id, h.Tasks)
	return hex.EncodeToString(mac.Sum(nil)[:6])
}

// flowerSubject makes an ID that came with a request the one that the request is about,
// if it is of a listed task. The ID of a task that others have called is, if the backend
// has kept the task's name.
func (c *call) flowerSubject(id string) error {
	if !c.h.gave(id) {
		name, err := c.storedName(id)
		if err != nil {
			return err
		}
		if name == "" || !matches(c.h.Tasks, name) {
			return fail(unknownTask, "there is no such task")
		}
	}
	c.task.ID, c.sent = id, true
	return nil
}

// storedName returns the name of a task if the backend has it.
func (c *call) storedName(id string) (string, error) {
	store, ok := c.link.backend.(celery.Store)
	if !ok {
		return "", nil
	}
	payload, err := store.Fetch(c.r.Context(), id)
	if err != nil || payload == nil {
		return "", err
	}
	result, err := celery.DecodeResult(payload)
	return result.Name, err
}

// maxID is how long the ID of a task may be.
const maxID = 255

func validID(id string) bool {
	return id != "" && len(id) <= maxID && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}
