package modelserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// created is the time of all answers and models, in seconds since 1970.
const created = 1_700_000_000

// text is the answer, one token after the other, repeated.
var text = strings.SplitAfter("One GPU serves many clients when each of them waits for its turn. ", " ")

// form is the form of answers of one path.
type form struct {
	id            string
	object, chunk string // the types of a whole answer and of one event
	// opening is the first event; nil: there is none.
	opening any
	// part puts text into an event, say into a whole answer.
	part, say func(string) map[string]any
}

var chatForm = form{
	id: "chatcmpl-1", object: "chat.completion", chunk: "chat.completion.chunk",
	opening: map[string]any{"index": 0, "delta": map[string]any{"role": "assistant", "content": ""}, "finish_reason": nil},
	part:    func(s string) map[string]any { return map[string]any{"delta": map[string]any{"content": s}} },
	say: func(s string) map[string]any {
		return map[string]any{"message": map[string]any{"role": "assistant", "content": s}}
	},
}

var textForm = form{
	id: "cmpl-1", object: "text_completion", chunk: "text_completion",
	part: func(s string) map[string]any { return map[string]any{"text": s} },
	say:  func(s string) map[string]any { return map[string]any{"text": s} },
}

// paper writes the answer of one request.
type paper struct {
	w     http.ResponseWriter
	form  form
	model string
	next  func() bool // waits for the next token, false: there is none
}

// stream writes an event for each token as soon as there is one.
func (p paper) stream() {
	p.w.Header().Set("Content-Type", "text/event-stream")
	p.w.Header().Set("Cache-Control", "no-cache")
	p.w.WriteHeader(http.StatusOK)
	if p.form.opening != nil {
		p.event(p.form.opening)
	}
	p.flush()
	for i := 0; p.next(); i++ {
		choice := p.form.part(text[i%len(text)])
		choice["index"], choice["finish_reason"] = 0, nil
		p.event(choice)
		p.flush()
	}
	last := p.form.part("")
	last["index"], last["finish_reason"] = 0, "length"
	p.event(last)
	fmt.Fprint(p.w, "data: [DONE]\n\n") // an error is seen as the end of the context
}

func (p paper) event(choice any) {
	line, err := json.Marshal(map[string]any{
		"id": p.form.id, "object": p.form.chunk, "created": created, "model": p.model, "choices": []any{choice},
	})
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	fmt.Fprintf(p.w, "data: %s\n\n", line)
}

// flush sends the events so far. A client that has left is seen as the end of the context.
func (p paper) flush() { _ = http.NewResponseController(p.w).Flush() }

// whole writes all tokens together, after the time that it takes to generate them. If ctx
// ends before, it writes nothing.
func (p paper) whole(ctx context.Context) {
	var all strings.Builder
	n := 0
	for ; p.next(); n++ {
		all.WriteString(text[n%len(text)])
	}
	if ctx.Err() != nil {
		return
	}
	choice := p.form.say(all.String())
	choice["index"], choice["finish_reason"] = 0, "length"
	write(p.w, map[string]any{
		"id": p.form.id, "object": p.form.object, "created": created, "model": p.model, "choices": []any{choice},
		"usage": map[string]any{"prompt_tokens": 1, "completion_tokens": n, "total_tokens": n + 1},
	})
}
