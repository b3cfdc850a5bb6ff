#!/bin/sh
# Sign a PDF with the signing service: curl and OpenSSL do the work, sh, sed and dd the writing.
#
#     HASHSEAL_TOKEN=… sh sign.sh SERVICE_URL SEAL_ID input.pdf output.pdf [trusted-root.pem]
#
# Takes files with a cross-reference table, unencrypted and without a form; others it refuses, and
# `qpdf --object-streams=disable input.pdf plain.pdf` makes such a file of most.
set -eu
LC_ALL=C
export LC_ALL
url=$1 seal=$2 input=$3 output=$4 root=${5:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=$work/out.pdf

fail() { echo "sign.sh: $1" >&2; exit 1; }

# The token is read from a file, so that it does not stand on a command line.
(umask 077; printf 'Authorization: Bearer %s\n' "$HASHSEAL_TOKEN" >"$work/token")

# call METHOD PATH [body]: the answer without white space. curl sends a request that failed on its way,
# or met 429 or 503, again: with the same Idempotency-Key, so it is charged once. Other refusals end here.
key=$(openssl rand -hex 16)
call() {
    set -- "$1" "$2" ${3:+--data "$3" -H "Content-Type: application/json" -H "Idempotency-Key: $key"}
    method=$1 path=$2; shift 2
    curl -sS --retry 4 --retry-all-errors --max-time 60 -o "$work/answer" -w '%{http_code}' \
        -X "$method" -H "@$work/token" "$@" "$url$path" >"$work/status" || fail "no answer"
    [ "$(cat "$work/status")" = 200 ] || fail "refused: $(cat "$work/answer")"
    tr -d ' \t\r\n' <"$work/answer"
}
text() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
number() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; }
list() { sed -n "s/.*\"$1\":\[\([^]]*\)\].*/\1/p" | tr -d '"' | tr ',' '\n'; }

# --- what is in the file ------------------------------------------------------------------------
size_of() { wc -c <"$1" | tr -d ' '; }
# object N: the text of the newest object N
object() {
    at=$(grep -abo "\(^\|[^0-9]\)$1 0 obj" "$out" | tail -n 1 | cut -d: -f1)
    [ -n "$at" ] || fail "object $1 is not there; see the remark on qpdf"
    tail -c "+$((at + 1))" "$out" | tr '\r' '\n' | sed '/endobj/q' | tr '\n' ' ' |
        sed 's/^[^0-9]*[0-9]* 0 obj//; s/endobj.*//'
}
# reference NAME: N of "/NAME N 0 R"
reference() { sed -n "s,.*/$1 *\([0-9][0-9]*\) 0 R.*,\1,p"; }
# with DICTIONARY ENTRIES: the dictionary with more in it
with() { printf '%s' "$1" | sed 's/>> *$//'; printf ' %s >>' "$2"; }

cat "$input" >"$out"
before=$(tail -c 1024 "$out" | tr '\r' '\n' | sed -n '/startxref/{n;p;}' | tail -n 1 | tr -d ' ')
tail -c "+$((before + 1))" "$out" | head -c 4 | grep -q xref ||
    fail "the file has no cross-reference table; see the remark on qpdf"
trailer=$(tail -c "+$((before + 1))" "$out" | tr '\r\n' '  ' | sed 's/.*trailer//; s/startxref.*//')
case $trailer in *"/Encrypt"*) fail "the file is encrypted" ;; esac
catalog_number=$(printf '%s' "$trailer" | reference Root)
next=$(printf '%s' "$trailer" | sed -n 's,.*/Size *\([0-9]*\).*,\1,p')
keep=$(printf '%s' "$trailer" | sed -n 's,.*\(/Info *[0-9]* 0 R\).*,\1,p')
keep="$keep $(printf '%s' "$trailer" | sed -n 's,.*\(/ID *\[[^]]*\]\).*,\1,p')"
catalog=$(object "$catalog_number")
case $catalog in *"/AcroForm"* | *"/Perms"* | *"/DSS"*) fail "the file has a form" ;; esac
page_number=$(printf '%s' "$catalog" | reference Pages)
page=$(object "$page_number")
while printf '%s' "$page" | grep -q /Kids; do
    page_number=$(printf '%s' "$page" | sed -n 's,.*/Kids *\[ *\([0-9]*\) 0 R.*,\1,p')
    page=$(object "$page_number")
done

# --- an incremental update: begin, objects, end -------------------------------------------------
begin() { : >"$work/xref"; printf '\n' >>"$out"; }
start() { # start N: an object begins
    printf '%s 1\n%010d 00000 n \n' "$1" "$(size_of "$out")" >>"$work/xref"
    printf '%s 0 obj\n' "$1" >>"$out"
}
whole() { start "$1"; printf '%s\nendobj\n' "$2" >>"$out"; }
end() {
    at=$(size_of "$out")
    { printf 'xref\n'; cat "$work/xref"
      printf 'trailer\n<< /Size %s /Root %s 0 R /Prev %s %s >>\n' "$next" "$catalog_number" "$before" "$keep"
      printf 'startxref\n%s\n%%%%EOF\n' "$at"; } >>"$out"
    before=$at
}
put() { dd of="$out" bs=1 seek="$1" conv=notrunc 2>/dev/null; }

# 1. Ask how much room the signature needs: octets, and two hexadecimal digits each.
size=$(call GET "/v1/seals/$seal" | number signature_size)
[ -n "$size" ] || fail "the answer has no signature_size"

# 2. Prepare: a field, a signature dictionary with room, the page and the catalog that lead to them.
field=$next value=$((next + 1)) next=$((next + 2))
begin
catalog=$(with "$catalog" "/AcroForm << /Fields [ $field 0 R ] /SigFlags 3 >>")
whole "$catalog_number" "$catalog"
case $page in
*/Annots*\[*) page=$(printf '%s' "$page" | sed "s,/Annots *\[,/Annots [ $field 0 R ,") ;;
*/Annots*) fail "the page's annotations are in an object of their own" ;;
*) page=$(with "$page" "/Annots [ $field 0 R ]") ;;
esac
whole "$page_number" "$page"
whole "$field" "<< /Type /Annot /Subtype /Widget /FT /Sig /T (Signature1) /F 132 /Rect [ 0 0 0 0 ] /P $page_number 0 R /V $value 0 R >>"
start "$value"
printf '<< /Type /Sig /Filter /Adobe.PPKLite /SubFilter /ETSI.CAdES.detached /M (D:%sZ) /ByteRange [' \
    "$(date -u +%Y%m%d%H%M%S)" >>"$out"
range_at=$(size_of "$out")
printf '%36s] /Contents ' '' >>"$out"
gap_begins=$(size_of "$out")
{ printf '<'; head -c $((2 * size)) /dev/zero | tr '\0' 0; printf '>'; } >>"$out"
gap_ends=$(size_of "$out")
printf ' >>\nendobj\n' >>"$out"
end
printf '0 %d %d %d' "$gap_begins" "$gap_ends" $(($(size_of "$out") - gap_ends)) | put "$range_at"

# 3. Hash the ByteRange: everything but /Contents with its brackets. From here on nothing may change.
{ head -c "$gap_begins" "$out"; tail -c "+$((gap_ends + 1))" "$out"; } >"$work/signed"
hash=$(openssl dgst -sha256 -binary "$work/signed" | openssl base64 -A)

# 4. Send the hash, nothing else.
answer=$(call POST /v1/documents/sign \
    "{\"seal_id\":\"$seal\",\"hash_algorithm\":\"SHA-256\",\"level\":\"B-LT\",\"hashes\":[\"$hash\"]}")
printf '%s' "$answer" | text signature | openssl base64 -d -A >"$work/signature.der"

# 5. Check the answer before it is written: it must be over these very octets.
if [ -n "$root" ]; then trust="-CAfile $root -purpose any"; else trust=-noverify; fi
# shellcheck disable=SC2086 # two words or four
openssl cms -verify -inform DER -binary -in "$work/signature.der" -content "$work/signed" \
    $trust -out /dev/null 2>"$work/judged" || fail "the signature is not valid: $(cat "$work/judged")"
[ "$(size_of "$work/signature.der")" -le "$size" ] || fail "the signature does not fit"

# 6. Write it into the room, in hexadecimal; the zeros behind it stay.
od -An -v -tx1 "$work/signature.der" | tr -d ' \n' | put $((gap_begins + 1))

# 7. Append the validation material: /DSS with one stream for each piece of DER.
begin
dss=
for kind in certificates:Certs ocsp_responses:OCSPs crls:CRLs; do
    numbers=
    printf '%s' "$answer" | list "${kind%:*}" >"$work/list"
    while read -r encoded || [ -n "$encoded" ]; do
        [ -n "$encoded" ] || continue
        printf '%s' "$encoded" | openssl base64 -d -A >"$work/der"
        start "$next"
        { printf '<< /Length %s >>\nstream\n' "$(size_of "$work/der")"
          cat "$work/der"; printf '\nendstream\nendobj\n'; } >>"$out"
        numbers="$numbers $next 0 R" next=$((next + 1))
    done <"$work/list"
    [ -z "$numbers" ] || dss="$dss /${kind#*:} [$numbers ]"
done
whole "$catalog_number" "$(with "$catalog" "/DSS <<$dss >>")"
end

mv "$out" "$output"
echo "signed: $output"
