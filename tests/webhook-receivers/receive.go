package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// verify returns an error unless one of the delivery's signatures is by the endpoint's secret and it was sent in
// the last 5 minutes.
func verify(secret string, header http.Header, body []byte) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	sent, err := strconv.ParseInt(header.Get("webhook-timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(sent, 0)).Abs() > 5*time.Minute {
		return errors.New("sent too long ago")
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", header.Get("webhook-id"), sent, body)
	expected := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	for _, signature := range strings.Fields(header.Get("webhook-signature")) {
		if hmac.Equal([]byte(signature), expected) {
			return nil
		}
	}
	return errors.New("not signed with the secret")
}

// Check says what has not come. Keep it beside what you make of the deliveries.
type Check struct {
	sync.Mutex
	highest uint64
	missing map[uint64]bool
}

// IsNew tells whether a delivery has not come before, and notes which ones before it have not come yet.
func (c *Check) IsNew(seq uint64) bool {
	late := c.missing[seq]
	delete(c.missing, seq)
	if seq <= c.highest {
		return late
	}
	for gap := c.highest + 1; gap < seq; gap++ {
		c.missing[gap] = true
	}
	c.highest = seq
	return true
}

func main() {
	check := Check{missing: map[uint64]bool{}}
	http.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err == nil {
			err = verify(os.Getenv("WEBHOOK_SECRET"), r.Header, body)
		}
		var delivery struct {
			Type string
			Meta struct {
				EndpointSeq uint64 `json:"endpoint_seq"`
			}
		}
		if err == nil {
			err = json.Unmarshal(body, &delivery)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		check.Lock()
		defer check.Unlock()
		if check.IsNew(delivery.Meta.EndpointSeq) {
			missing := slices.AppendSeq([]uint64{}, maps.Keys(check.missing))
			slices.Sort(missing)
			text, _ := json.Marshal(missing)
			fmt.Printf("%s %d %s\n", delivery.Type, delivery.Meta.EndpointSeq, text)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
