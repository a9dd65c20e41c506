package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/thunderdb/thunderdb/client"
)

// toyNode is just enough of a node for the examples: a map behind the routes.
type toyNode struct {
	mu      sync.Mutex // guards what follows
	values  map[string]toyValue
	version int
}

type toyValue struct {
	etag, contentType string
	value             []byte
}

// startNode starts a toyNode and returns its address.
func startNode() (addr string, stop func()) {
	n := &toyNode{values: map[string]toyValue{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/kv/{key...}", n.key)
	mux.HandleFunc("GET /v1/keys", n.keys)
	mux.HandleFunc("GET /v1/export", n.export)
	mux.HandleFunc("POST /v1/bulk", n.bulk)
	mux.HandleFunc("POST /v1/batch", n.batch)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		defer n.mu.Unlock()
		w.Header().Set("ThunderDB-Node", "n1")
		mux.ServeHTTP(w, r)
	}))
	return srv.URL, srv.Close
}

// connect returns a client of a toyNode that holds pairs, such as "a=1".
func connect(pairs ...string) (db *client.Client, stop func()) {
	addr, stopNode := startNode()
	db, err := client.New(addr)
	if err != nil {
		log.Fatal(err)
	}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		if _, err := db.Put(context.Background(), key, []byte(value)); err != nil {
			log.Fatal(err)
		}
	}
	return db, func() { db.Close(); stopNode() }
}

func (n *toyNode) put(key, value, contentType string) (etag string, created bool) {
	_, had := n.values[key]
	n.version++
	etag = fmt.Sprintf(`"%d"`, n.version)
	n.values[key] = toyValue{etag, contentType, []byte(value)}
	return etag, !had
}

func (n *toyNode) key(w http.ResponseWriter, r *http.Request) {
	key := r.PathValue("key")
	v, found := n.values[key]
	if m := r.Header.Get("If-Match"); m != "" && m != v.etag {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	switch {
	case r.Method == http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if _, created := n.put(key, string(body), r.Header.Get("Content-Type")); created {
			w.WriteHeader(http.StatusCreated)
		}
	case r.Method == http.MethodDelete:
		delete(n.values, key)
	case !found:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("ETag", v.etag)
		w.Header().Set("Content-Type", v.contentType)
		w.Write(v.value)
	}
}

func (n *toyNode) keys(w http.ResponseWriter, r *http.Request) {
	page := client.KeyPage{Complete: true}
	for key, v := range n.values {
		if strings.HasPrefix(key, r.FormValue("prefix")) {
			page.Keys = append(page.Keys, client.KeyInfo{Key: key, ETag: v.etag, Size: len(v.value)})
		}
	}
	json.NewEncoder(w).Encode(page)
}

func (n *toyNode) export(w http.ResponseWriter, r *http.Request) {
	for key, v := range n.values {
		if value := string(v.value); strings.HasPrefix(key, r.FormValue("prefix")) {
			json.NewEncoder(w).Encode(client.Record{Key: &key, Value: &value, ContentType: v.contentType})
		}
	}
}

func (n *toyNode) bulk(w http.ResponseWriter, r *http.Request) {
	totals := client.BulkLine{Done: true}
	out := json.NewEncoder(w)
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		totals.Read++
		if key, value, ok := strings.Cut(lines.Text(), " "); ok {
			n.put(key, value, "")
			totals.Stored++
		} else {
			totals.Failed++
			out.Encode(client.BulkLine{Line: totals.Read, Error: "want a key, a space and a value"})
		}
	}
	out.Encode(totals)
}

func (n *toyNode) batch(w http.ResponseWriter, r *http.Request) {
	var ops []client.BatchOp
	if err := json.NewDecoder(r.Body).Decode(&ops); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var results []client.BatchResult
	for _, op := range ops {
		res := client.BatchResult{Op: op.Op, Key: op.Key, Status: http.StatusOK}
		if v, found := n.values[*op.Key]; op.Op == "put" {
			res.ETag, _ = n.put(*op.Key, *op.Value, op.ContentType)
			res.Status = http.StatusCreated
		} else if value := string(v.value); found {
			res.ETag, res.Value = v.etag, &value
		} else {
			res.Status, res.Error = http.StatusNotFound, "no such key"
		}
		results = append(results, res)
	}
	json.NewEncoder(w).Encode(results)
}
