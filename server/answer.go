package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// answer serves what f returns as JSON, with status 200, or f's error.
func (s *front) answer(f func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := f(r)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		s.write(w, r, http.StatusOK, body)
	}
}

// write sends body as JSON. It is encoded before anything is sent, so that a
// value that cannot be encoded becomes an error answer and not half a body.
func (s *front) write(w http.ResponseWriter, r *http.Request, status int, body any) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // results are given as they were stored
	if err := encoder.Encode(body); err != nil {
		s.log.Error("encode HTTP answer", "method", r.Method, "path", r.URL.Path, "error", err)
		status = http.StatusInternalServerError
		out.Reset()
		// Errors are texts, which can always be encoded.
		_ = encoder.Encode(s.refusal(problemf(status, codeInternal, "Internal server error")))
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(out.Bytes()); err != nil {
		s.log.Debug("send HTTP answer", "method", r.Method, "path", r.URL.Path, "error", err)
	}
}
