// Reads the public events of a shop as they happen, and prints the id, type and position of each.
//
// It needs the standard library alone: it speaks the text protocol of NATS, and reads two fields of the envelope.
// The module nats.go (nats.NkeyOptionFromSeed) and the types that protoc-gen-go makes of proto/ do the same, and
// connect again by themselves.
package main

import (
	"bufio"
	"cmp"
	"crypto/ed25519"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
)

const (
	keyFile = "here/keys/reports.nk"
	user    = "the public key" // of the key in keyFile
	shop    = "acme"
)

var (
	server   = cmp.Or(os.Getenv("NATS_URL"), "nats://127.0.0.1:4222")
	services = []string{"catalog", "inventory", "order", "payment", "shop"}
)

func main() {
	address, err := url.Parse(server)
	check(err)
	connection, err := net.Dial("tcp", address.Host)
	check(err)
	reader := bufio.NewReader(connection)
	greeting, err := reader.ReadString('\n')
	check(err)
	subscribe(connection, greeting)
	for {
		line, err := reader.ReadString('\n')
		check(err)
		words := strings.Fields(line)
		switch words[0] {
		case "PING":
			fmt.Fprint(connection, "PONG\r\n")
		case "MSG": // MSG <subject> <subscription> <bytes>, and the message
			size, err := strconv.Atoi(words[len(words)-1])
			check(err)
			message := make([]byte, size+len("\r\n"))
			_, err = io.ReadFull(reader, message)
			check(err)
			id, position := read(message[:size])
			subject := strings.Split(words[1], ".") // <service>.<partition>.<shop>.<event>
			fmt.Printf("%s %s.%s %d\n", id, subject[0], subject[3], position)
		case "-ERR":
			log.Fatal(line)
		}
	}
}

// subscribe says who the user is, by a signature of what the server has sent, and what it wants.
func subscribe(connection net.Conn, greeting string) {
	var info struct{ Nonce string }
	check(json.Unmarshal([]byte(strings.TrimPrefix(greeting, "INFO ")), &info))
	text, err := os.ReadFile(keyFile)
	check(err)
	// 2 bytes say what kind of key it is, 32 are the key, 2 a checksum.
	seed, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimSpace(string(text)))
	check(err)
	signature := ed25519.Sign(ed25519.NewKeyFromSeed(seed[2:34]), []byte(info.Nonce))
	options, err := json.Marshal(map[string]any{
		"nkey": user, "sig": base64.RawURLEncoding.EncodeToString(signature), "verbose": false, "lang": "go",
	})
	check(err)
	fmt.Fprintf(connection, "CONNECT %s\r\n", options)
	for number, service := range services {
		fmt.Fprintf(connection, "SUB %s.*.%s.* %d\r\n", service, shop, number+1)
	}
}

// read returns the fields id (1) and position (10) of a message tradewind.events.v1.Event.
func read(event []byte) (id string, position uint64) {
	for len(event) > 0 {
		tag, size := binary.Uvarint(event)
		event = event[size:]
		// A number, or how many bytes follow.
		value, size := binary.Uvarint(event)
		event = event[size:]
		switch tag {
		case 1<<3 | 2:
			id = string(event[:value])
		case 10<<3 | 0:
			position = value
		}
		if tag&7 == 2 {
			event = event[value:]
		}
	}
	return id, position
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
