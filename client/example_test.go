package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/thunderdb/thunderdb/client"
)

func Example() {
	addr, stop := startNode() // stands for a node such as "10.0.0.7:8080"
	defer stop()
	ctx := context.Background()

	db, err := client.New(addr)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Put(ctx, "greeting", []byte("good morning"), client.ContentType("text/plain")); err != nil {
		log.Fatal(err)
	}
	item, err := db.Get(ctx, "greeting")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s (%s)\n", item.Value, item.ContentType)

	if err := db.Delete(ctx, "greeting"); err != nil {
		log.Fatal(err)
	}
	_, err = db.Get(ctx, "greeting")
	fmt.Println(errors.Is(err, client.ErrNotFound))
	// Output:
	// good morning (text/plain)
	// true
}

// A counter that several clients increment at once: whoever loses the race
// reads it again.
func ExampleIfMatch() {
	db, stop := connect("counter=41")
	defer stop()
	ctx := context.Background()

	increment := func(key string) error {
		for {
			item, err := db.Get(ctx, key)
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(string(item.Value))
			if err != nil {
				return err
			}
			_, err = db.Put(ctx, key, []byte(strconv.Itoa(n+1)), client.IfMatch(item.ETag))
			if !errors.Is(err, client.ErrPrecondition) && !errors.Is(err, client.ErrConflict) {
				return err
			}
		}
	}
	var clients sync.WaitGroup
	for range 9 {
		clients.Go(func() {
			if err := increment("counter"); err != nil {
				log.Fatal(err)
			}
		})
	}
	clients.Wait()
	item, err := db.Get(ctx, "counter")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", item.Value)
	// Output:
	// 50
}

func ExampleClient_Keys() {
	db, stop := connect("user/1=ann", "user/2=bob", "order/1=tea")
	defer stop()

	for k, err := range db.Keys(context.Background(), "user/") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(k.RawKey(), k.Size)
	}
	// Unordered output:
	// user/1 3
	// user/2 3
}

func ExampleClient_Import() {
	db, stop := connect()
	defer stop()

	input := strings.NewReader("ann 1970-01-01\nno-space-here\nbob 1984-06-07\n")
	totals, err := db.Import(context.Background(), client.Text, input, func(l client.BulkLine) {
		if l.Line > 0 {
			fmt.Printf("line %d: %s\n", l.Line, l.Error)
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(totals.Read, "read,", totals.Stored, "stored")
	// Output:
	// line 2: want a key, a space and a value
	// 3 read, 2 stored
}

func ExampleClient_ExportTo() {
	db, stop := connect("user/1=ann", "order/1=tea")
	defer stop()

	if err := db.ExportTo(context.Background(), "user/", os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output:
	// {"key":"user/1","value":"ann"}
}

func ExampleClient_Batch() {
	db, stop := connect("a=1")
	defer stop()

	results, err := db.Batch(context.Background(), []client.BatchOp{
		client.GetOp("a"), client.PutOp("b", []byte("2")), client.GetOp("c"),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range results {
		fmt.Println(r.Op, r.RawKey(), r.Status, r.Err())
	}
	// Output:
	// get a 200 <nil>
	// put b 201 <nil>
	// get c 404 get "c": not found (404): no such key
}
