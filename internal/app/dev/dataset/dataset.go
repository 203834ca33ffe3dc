// Package dataset makes the data that `carnet dev` serves: a year of orders of
// a small shop, worth a GROUP BY, and the files that analysts may not see.
//
// Everything is made by arithmetic from one seed, so each machine has the same
// bytes and a test can hold their digest. It must never read the clock.
package dataset

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

//go:embed products.csv
var productsCSV []byte

// productsParquet holds the rows of products.csv, written by pyarrow with
// snappy, so that engines have a columnar file to read.
//
//go:embed products.parquet
var productsParquet []byte

// Orders is the number of orders over the whole year.
const Orders = 100_000

// Object is one object of the demo buckets.
type Object struct {
	Bucket      string
	Key         string
	ContentType string
	Body        []byte
}

type product struct {
	id    string
	cents int
}

var (
	countries = []string{"DE", "FR", "NL", "SE", "IT", "ES", "PL", "AT"}
	channels  = []string{"web", "web", "web", "shop", "shop", "partner"}
	names     = []string{"Ada Winter", "Ben Okoro", "Chiara Rossi", "Dmitri Volkov", "Elif Kaya", "Finn Larsen", "Grace Liu", "Hugo Martin"}
)

// Build gives every object of the demo buckets, in a fixed order.
func Build() ([]Object, error) {
	products, err := readProducts()
	if err != nil {
		return nil, err
	}
	out := []Object{
		{"sales", "products/products.csv", "text/csv", productsCSV},
		{"sales", "products/products.parquet", "application/vnd.apache.parquet", productsParquet},
	}
	rng := rand.New(rand.NewPCG(2025, 1)) //nolint:gosec // the same bytes everywhere is the point
	id := 0
	for month := time.January; month <= time.December; month++ {
		body, next := orders(rng, products, month, id)
		id = next
		out = append(out, Object{"sales", fmt.Sprintf("orders/2025-%02d.csv", int(month)), "text/csv", body})
	}
	out = append(out,
		Object{"hr", "salaries/2025.csv", "text/csv", salaries(rng)},
		Object{"lab", "readings/roaster-1.csv", "text/csv", readings(rng)},
	)
	return out, nil
}

func readProducts() ([]product, error) {
	rows, err := csv.NewReader(bytes.NewReader(productsCSV)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read the embedded products: %w", err)
	}
	var out []product
	for _, r := range rows[1:] {
		price, err := strconv.ParseFloat(r[3], 64)
		if err != nil {
			return nil, fmt.Errorf("read the price of %s: %w", r[0], err)
		}
		out = append(out, product{id: r[0], cents: int(price*100 + 0.5)})
	}
	return out, nil
}

// orders writes one month. Trade grows over the year and peaks before the
// holidays, so that a chart of it shows something.
func orders(rng *rand.Rand, products []product, month time.Month, id int) ([]byte, int) {
	weight := [...]int{66, 64, 70, 72, 75, 73, 70, 68, 80, 90, 120, 152}
	count := Orders * weight[month-1] / 1000
	start := time.Date(2025, month, 1, 0, 0, 0, 0, time.UTC)
	seconds := int64(start.AddDate(0, 1, 0).Sub(start) / time.Second)
	var b bytes.Buffer
	b.Grow(count * 72)
	b.WriteString("order_id,ordered_at,customer_id,country,channel,product_id,quantity,unit_price,total\n")
	for i := range count {
		id++
		at := start.Add(time.Duration(seconds*int64(i)/int64(count)) * time.Second)
		p := products[rng.IntN(len(products))]
		quantity := 1 + rng.IntN(3)*rng.IntN(3)
		country := countries[min(rng.IntN(len(countries)), rng.IntN(len(countries)))]
		fmt.Fprintf(&b, "%d,%s,C%05d,%s,%s,%s,%d,%d.%02d,%d.%02d\n", id, at.Format("2006-01-02T15:04:05Z"),
			rng.IntN(12_000), country, channels[rng.IntN(len(channels))], p.id, quantity,
			p.cents/100, p.cents%100, p.cents*quantity/100, p.cents*quantity%100)
	}
	return b.Bytes(), id
}

func salaries(rng *rand.Rand) []byte {
	var b bytes.Buffer
	b.WriteString("employee,country,salary\n")
	for _, n := range names {
		fmt.Fprintf(&b, "%s,%s,%d\n", n, countries[rng.IntN(len(countries))], 42_000+rng.IntN(60)*1000)
	}
	return b.Bytes()
}

func readings(rng *rand.Rand) []byte {
	var b bytes.Buffer
	b.WriteString("second,celsius\n")
	for s := range 900 {
		fmt.Fprintf(&b, "%d,%.1f\n", s, 20+190*(1-1/(1+float64(s)/240))+rng.Float64())
	}
	return b.Bytes()
}
