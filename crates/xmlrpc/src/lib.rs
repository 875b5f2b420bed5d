//! XML-RPC as bytes: calls out, answers in. Bounded, and never panics on any bytes.
//!
//! The codec itself is the `dxr` crate; here are the checks that a hostile or broken peer makes necessary, and
//! `plain_answer.rs` reads the usual answers in a fraction of the time. Pure. Start at [`encode`] and [`decode`].

mod plain_answer;

use std::borrow::Cow;
use std::collections::BTreeMap;

use dxr::{FaultResponse, MethodCall, MethodResponse, TryToParams, Value};

/// An answer is refused past this nesting: supervisord's own never pass 12 elements.
const DEPTH_LIMIT: usize = 64;

/// Why an answer could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlRpcError {
    /// The call was understood, and answered with a fault.
    #[error("{text} (fault {code})")]
    Fault {
        /// supervisord's fault number.
        code: i32,
        /// Its text.
        text: String,
    },
    /// The answer is not XML-RPC.
    #[error("the answer is not XML-RPC: {0}")]
    Malformed(String),
}

/// The body of a call.
///
/// # Errors
/// [`XmlRpcError::Malformed`] if a parameter cannot be written.
pub fn encode(method: &str, params: &impl TryToParams) -> Result<String, XmlRpcError> {
    let params = params.try_to_params().map_err(|error| malformed(&error))?;
    MethodCall { name: method.into(), params }.to_xml().map_err(|error| malformed(&error))
}

/// The value of an answer.
///
/// # Errors
/// [`XmlRpcError::Fault`] for a fault, [`XmlRpcError::Malformed`] for anything that is no answer.
pub fn decode(body: &[u8]) -> Result<Value, XmlRpcError> {
    let text = String::from_utf8_lossy(body);
    if let Some(value) = plain_answer::read(&text) {
        return Ok(value);
    }
    // The general parser recurses, so the depth is checked before it runs.
    if depth(&text) > DEPTH_LIMIT {
        return Err(XmlRpcError::Malformed("nested too deeply".to_owned()));
    }
    let parsed = MethodResponse::from_xml(&text).or_else(|error| {
        // Only the answer of another server needs the second attempt; supervisord's own values parse as they are.
        let usual = with_usual_values(&text);
        // The first error is the one about the answer as it came.
        MethodResponse::from_xml(&usual).map_err(|_| error)
    });
    match parsed {
        Ok(response) => Ok(response.value),
        // A fault is a different document, which the first parser rejects.
        Err(error) => match FaultResponse::from_xml(&text) {
            Ok(FaultResponse { fault }) => {
                Err(XmlRpcError::Fault { code: fault.code(), text: fault.string().to_owned() })
            }
            Err(_) => Err(malformed(&error)),
        },
    }
}

/// The one text that an answer holds, byte for byte: line ends stay as they are, and so do bytes that are not UTF-8.
/// None if the answer is anything else.
#[must_use]
pub fn raw_text(body: &[u8]) -> Option<Vec<u8>> {
    const OPEN: &[u8] = b"<value><string>";
    const CLOSE: &[u8] = b"</string></value>";
    let find = |wanted: &[u8]| body.windows(wanted.len()).position(|window| window == wanted);
    let start = find(OPEN)? + OPEN.len();
    // In the text itself each `<` is escaped: what stands before it and behind it is all there is.
    let (head, rest) = (body.get(..start)?, body.get(start..)?);
    let end = rest.windows(CLOSE.len()).position(|window| window == CLOSE)?;
    let is_alone = !head.windows(8).any(|window| matches!(window, b"<struct>" | b"<array><"));
    let text = rest.get(..end).filter(|text| is_alone && !text.contains(&b'<'))?;
    Some(unescaped(text))
}

/// A text without the escapes that XML-RPC servers write.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escapes: [(&[u8], u8); 5] =
            [(b"&amp;", b'&'), (b"&lt;", b'<'), (b"&gt;", b'>'), (b"&quot;", b'"'), (b"&apos;", b'\'')];
        let escape = escapes.iter().find_map(|(escape, byte)| Some((rest.strip_prefix(*escape)?, *byte)));
        // An unknown escape stays as it is, so that no byte of a log gets lost.
        let (left, byte) = if *first == b'&' { escape.unwrap_or((after, b'&')) } else { (after, *first) };
        bytes.push(byte);
        rest = left;
    }
    bytes
}

/// Deepest nesting of elements, counted without parsing: the parser recurses, and must not be handed a tower. Anything
/// that could hide one (comments, CDATA, attributes) has no place in XML-RPC, and counts as too deep.
fn depth(text: &str) -> usize {
    let mut now = 0_usize;
    let mut deepest = 0;
    for (index, part) in text.split('<').skip(1).enumerate() {
        let tag = part.split('>').next().unwrap_or(part);
        // The XML declaration may stand at the start, and nowhere else.
        if tag.starts_with('?') && index == 0 {
            continue;
        }
        if tag.starts_with(['!', '?']) || tag.contains(['=', '"', '\'']) {
            return usize::MAX;
        }
        if tag.starts_with('/') {
            now = now.saturating_sub(1);
        } else if !tag.ends_with('/') {
            now += 1;
            deepest = deepest.max(now);
        }
    }
    deepest
}

/// The same answer with each single value that supervisord would not write as one that it would: another server may
/// write a `<nil/>`, an `<i8>`, a value without a type, or a number that is none. A value that cannot be read becomes
/// `false`, which is neither a text nor a number.
fn with_usual_values(text: &str) -> String {
    let mut usual = String::with_capacity(text.len());
    let mut parts = text.split("<value>");
    usual.push_str(&parts.next().unwrap_or_default().replace("<value/>", "<value><boolean>0</boolean></value>"));
    for part in parts {
        usual.push_str("<value>");
        match part.split_once("</value>") {
            // Arrays and structures hold values of their own, which follow as parts.
            Some((value, rest))
                if !value.trim_start().starts_with("<array>") && !value.trim_start().starts_with("<struct>") =>
            {
                usual.push_str(&usual_value(value));
                usual.push_str("</value>");
                usual.push_str(&rest.replace("<value/>", "<value><boolean>0</boolean></value>"));
            }
            _ => usual.push_str(part),
        }
    }
    usual
}

/// One value that holds no other.
fn usual_value(value: &str) -> Cow<'_, str> {
    if !value.contains('<') {
        return Cow::Owned(format!("<string>{value}</string>"));
    }
    let inside = |tag: &str| value.trim().strip_prefix(&format!("<{tag}>"))?.strip_suffix(&format!("</{tag}>"));
    let number = ["int", "i4", "i8"].iter().find_map(|tag| inside(tag)?.trim().parse::<i32>().ok());
    let is_usual = inside("string").is_some_and(|text| !text.contains('<'))
        || matches!(inside("boolean"), Some("0" | "1"))
        || inside("double").is_some_and(|number| number.trim().parse::<f64>().is_ok());
    match number {
        Some(number) => Cow::Owned(format!("<int>{number}</int>")),
        None if is_usual => Cow::Borrowed(value),
        None => Cow::Borrowed("<boolean>0</boolean>"),
    }
}

/// The parser's own message may hold the whole body.
fn malformed(error: &dxr::Error) -> XmlRpcError {
    XmlRpcError::Malformed(error.to_string().chars().take(160).collect())
}

/// The members of a structure, or nothing.
#[must_use]
pub fn members(value: &Value) -> Option<&BTreeMap<String, Value>> {
    if let Value::Struct(members) = value { Some(members) } else { None }
}

/// The items of an array, or nothing.
#[must_use]
pub fn items(value: &Value) -> Option<&[Value]> {
    if let Value::Array(items) = value { Some(items) } else { None }
}

/// A text, or nothing.
#[must_use]
pub fn text(value: &Value) -> Option<&str> {
    if let Value::String(text) = value { Some(text) } else { None }
}

/// A whole number, or nothing. supervisord writes all of its numbers as `int` (epoch seconds fit until 2038).
#[must_use]
pub fn integer(value: &Value) -> Option<i64> {
    if let Value::Integer(number) = value { Some(i64::from(*number)) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn response(value: &str) -> String {
        format!(
            "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value>{value}</value>\n</param>\n</params>\n</methodResponse>\n"
        )
    }

    fn decoded(value: &str) -> Result<Value, XmlRpcError> {
        decode(response(value).as_bytes())
    }

    /// So many arrays in one another, with `filler` in each.
    fn tower(levels: usize, filler: &str) -> String {
        let (open, close) = (format!("<value><array><data>{filler}"), "</data></array></value>");
        format!(
            "<methodResponse><params><param>{}{}</param></params></methodResponse>",
            open.repeat(levels),
            close.repeat(levels)
        )
    }

    #[test]
    fn a_call_is_what_supervisord_reads() {
        let call = encode("supervisor.startProcess", &("a:<b>&".to_owned(), true)).expect("a call");
        assert!(call.contains("<methodName>supervisor.startProcess</methodName>"), "{call}");
        assert!(call.contains("<string>a:&lt;b&gt;&amp;</string>") && call.contains("<boolean>1</boolean>"), "{call}");
    }

    #[test]
    fn answers_as_supervisord_writes_them() {
        assert_eq!(decoded("<boolean>1</boolean>"), Ok(Value::Boolean(true)));
        assert_eq!(decoded("<string>3.3.1</string>").as_ref().ok().and_then(text), Some("3.3.1"));
        assert_eq!(decoded("<int>4711</int>").as_ref().ok().and_then(integer), Some(4711));
        let list =
            decoded("<array><data>\n<value><int>1</int></value>\n<value><string></string></value>\n</data></array>");
        assert_eq!(list.as_ref().ok().and_then(items).map(<[Value]>::len), Some(2), "{list:?}");
        let member = "<member>\n<name>statename</name>\n<value><string>RUNNING</string></value>\n</member>";
        let structure = decoded(&format!("<struct>\n{member}\n</struct>")).expect("a structure");
        assert_eq!(members(&structure).and_then(|members| text(members.get("statename")?)), Some("RUNNING"));
        assert_eq!((items(&structure), text(&structure), integer(&structure)), (None, None, None));
    }

    /// What other servers write spoils one value, and not the answer.
    #[test]
    fn an_odd_value_is_only_itself() {
        let odd = [
            ("<nil/>", Value::Boolean(false)),
            ("<ex:nil/>", Value::Boolean(false)),
            ("<i8>7</i8>", Value::Integer(7)),
            ("<i8>9999999999</i8>", Value::Boolean(false)),
            ("<int>seven</int>", Value::Boolean(false)),
            ("<int></int>", Value::Boolean(false)),
            ("<boolean>yes</boolean>", Value::Boolean(false)),
            ("<dateTime.iso8601>never</dateTime.iso8601>", Value::Boolean(false)),
            ("untyped", Value::String("untyped".to_owned())),
        ];
        for (value, wanted) in odd {
            let member =
                |name: &str, value: &str| format!("<member><name>{name}</name><value>{value}</value></member>");
            let entry = format!("<struct>{}{}</struct>", member("x", value), member("name", "<string>a</string>"));
            let list =
                decoded(&format!("<array><data><value>{entry}</value><value><int>3</int></value></data></array>"));
            let list = list.unwrap_or_else(|error| panic!("{value}: {error}"));
            let [first, Value::Integer(3)] = items(&list).expect("a list") else { panic!("{value}: {list:?}") };
            let members = members(first).expect("a structure");
            assert_eq!((members.get("x"), members.get("name").and_then(text)), (Some(&wanted), Some("a")), "{value}");
        }
    }

    #[test]
    fn a_fault_is_a_fault() {
        let body = "<?xml version='1.0'?>\n<methodResponse>\n<fault>\n<value><struct>\n<member>\n<name>faultCode</name>\n\
                    <value><int>10</int></value>\n</member>\n<member>\n<name>faultString</name>\n\
                    <value><string>BAD_NAME: x</string></value>\n</member>\n</struct></value>\n</fault>\n</methodResponse>\n";
        assert_eq!(decode(body.as_bytes()), Err(XmlRpcError::Fault { code: 10, text: "BAD_NAME: x".to_owned() }));
    }

    #[test]
    fn a_text_is_told_byte_for_byte() {
        let text = |inside: &[u8]| {
            let mut body = b"<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><string>".to_vec();
            body.extend_from_slice(inside);
            body.extend_from_slice(b"</string></value>\n</param>\n</params>\n</methodResponse>\n");
            raw_text(&body)
        };
        assert_eq!(text(b""), Some(Vec::new()));
        assert_eq!(text(b" a\r\n\x1b\0\xe9 ").as_deref(), Some(b" a\r\n\x1b\0\xe9 ".as_slice()));
        assert_eq!(text(b"&lt;x&gt; &amp;amp; & &#10;").as_deref(), Some(b"<x> &amp; & &#10;".as_slice()));
        let member = "<member>\n<name>faultCode</name>\n<value><int>20</int></value>\n</member>\n<member>\n\
                      <name>faultString</name>\n<value><string>NO_FILE</string></value>\n</member>";
        assert_eq!(raw_text(response(&format!("<struct>\n{member}\n</struct>")).as_bytes()), None);
        let list = "<array><data>\n<value><string>x</string></value>\n</data></array>";
        assert_eq!(raw_text(response(list).as_bytes()), None);
        assert_eq!(raw_text(b"<value><string>never ends"), None);
    }

    #[test]
    fn nonsense_is_malformed_and_quoted_in_short() {
        let bodies = [
            "",
            "<",
            "not xml",
            "<methodResponse>",
            "<methodCall/>",
            "\0\0",
            "<methodResponse><params/></methodResponse>",
        ];
        let long = "x".repeat(100_000);
        for body in bodies.into_iter().chain([long.as_str()]) {
            match decode(body.as_bytes()) {
                Err(XmlRpcError::Malformed(reason)) => assert!(reason.chars().count() <= 160, "{reason}"),
                other => panic!("{body:?} is {other:?}"),
            }
        }
    }

    /// The parser recurses: an answer that is nested deeper than any of supervisord's never reaches it, however it is
    /// written.
    #[test]
    fn a_tower_is_refused() {
        assert!(decode(tower(10, "").as_bytes()).is_ok());
        let fillers = ["", "<!-- </a></a></a> -->", "<![CDATA[</a></a></a>]]>", "<? </a></a></a> ?>"];
        for filler in fillers {
            let levels = 50_000;
            assert!(depth(&tower(levels, filler)) > DEPTH_LIMIT, "with {filler}");
            assert_eq!(
                decode(tower(levels, filler).as_bytes()),
                Err(XmlRpcError::Malformed("nested too deeply".to_owned()))
            );
        }
        let dressed = tower(50_000, "").replace("<data>", "<data x='/>'>");
        assert!(depth(&dressed) > DEPTH_LIMIT);
        // What closes does not count as open again.
        let flat = format!("<array><data>{}</data></array>", "<value><int>1</int></value>".repeat(5000));
        assert_eq!(decoded(&flat).as_ref().ok().and_then(items).map(<[Value]>::len), Some(5000));
    }

    /// Pieces that an answer is made of, in any order.
    fn pieces() -> impl Strategy<Value = String> {
        let words = [
            "<methodResponse>",
            "</methodResponse>",
            "<params>",
            "</params>",
            "<param>",
            "</param>",
            "<value>",
            "</value>",
            "<array>",
            "</array>",
            "<data>",
            "</data>",
            "<struct>",
            "</struct>",
            "<member>",
            "</member>",
            "<name>",
            "</name>",
            "<int>",
            "</int>",
            "<i4/>",
            "<string>",
            "</string>",
            "<boolean>",
            "</boolean>",
            "<double>",
            "</double>",
            "<dateTime.iso8601>",
            "<base64>",
            "</base64>",
            "<nil/>",
            "<fault>",
            "</fault>",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "<?",
            "?>",
            "&amp;",
            "&#0;",
            "&bogus;",
            "<",
            ">",
            "/",
            "faultCode",
            "faultString",
            "1",
            "-99999999999",
            "NaN",
            " ",
            "\n",
            "\u{1}",
            "\u{fffd}",
            "é",
            "a='b'",
            "\"",
        ];
        prop::collection::vec(prop::sample::select(words.to_vec()), 0..60).prop_map(|words| words.concat())
    }

    /// A value as Python's `xmlrpclib` writes it.
    fn written(value: &Value) -> String {
        let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let inside = if let Value::Integer(number) = value {
            format!("<int>{number}</int>")
        } else if let Value::Boolean(yes) = value {
            format!("<boolean>{}</boolean>", u8::from(*yes))
        } else if let Some(items) = items(value) {
            format!("<array><data>\n{}</data></array>", items.iter().map(written).collect::<String>())
        } else if let Some(members) = members(value) {
            let member = |(name, value)| format!("<member>\n<name>{name}</name>\n{}</member>\n", written(value));
            format!("<struct>\n{}</struct>", members.iter().map(member).collect::<String>())
        } else {
            format!("<string>{}</string>", escaped(text(value).unwrap_or_default()))
        };
        format!("<value>{inside}</value>\n")
    }

    fn answer(value: &Value) -> String {
        let params = format!("<params>\n<param>\n{}</param>\n</params>\n", written(value));
        format!("<?xml version='1.0'?>\n<methodResponse>\n{params}</methodResponse>\n")
    }

    /// What the general parser reads.
    fn general(text: &str) -> Option<Value> {
        MethodResponse::from_xml(text).ok().map(|response| response.value)
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(Value::Integer),
            any::<bool>().prop_map(Value::Boolean),
            "[ -~é&<>;\n\t]{0,12}".prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 24, 6, |inner| {
            let members = prop::collection::btree_map("[a-z_]{1,6}", inner.clone(), 0..6).prop_map(Value::Struct);
            prop_oneof![prop::collection::vec(inner, 0..6).prop_map(Value::Array), members]
        })
    }

    #[test]
    fn a_usual_answer_is_a_plain_one() {
        let process = [
            ("name", Value::String("contrail-api:0".to_owned())),
            ("description", Value::String("pid 4711, uptime 1 day, 2:03:04 <&>".to_owned())),
            ("start", Value::Integer(1_700_000_000)),
            ("spawnerr", Value::String(String::new())),
        ];
        let process = Value::Struct(process.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        let parts = vec![Value::String("3.3.1".to_owned()), Value::Integer(12), Value::Array(vec![process])];
        let text = answer(&Value::Array(parts.clone()));
        assert_eq!(plain_answer::read(&text), Some(Value::Array(parts)));
        assert_eq!(plain_answer::read(&text), general(&text));
        let odd = [
            "<nil/>",
            "<i4>1</i4>",
            "<int>-1</int>",
            "<int>+1</int>",
            "<int> 1</int>",
            "<int></int>",
            "<boolean>2</boolean>",
            "<string> a</string>",
            "<string>a\n</string>",
            "<string>a\rb</string>",
            "<string>&#65;</string>",
            "<string>&quot;</string>",
            "<string>&</string>",
            "<string>]]></string>",
            "<string/>",
            "untyped",
            "",
            "<struct><member><name>a</name><value><int>1</int></value></member><member><name>a</name><value><int>2</int></value></member></struct>",
            "<struct><member><name></name><value><int>1</int></value></member></struct>",
            "<int>9999999999</int>",
        ];
        for odd in odd {
            assert_eq!(plain_answer::read(&response(odd)), None, "{odd}");
        }
    }

    proptest! {
        /// What is read without the general parser is what that parser reads.
        #[test]
        fn a_plain_answer_is_read_as_by_the_general_parser(value in values()) {
            let text = answer(&value);
            if let Some(read) = plain_answer::read(&text) {
                prop_assert_eq!(Some(&read), Some(&value));
                prop_assert_eq!(Some(read), general(&text));
            }
        }

        #[test]
        fn pieces_are_read_as_by_the_general_parser(pieces in pieces()) {
            for text in [pieces.clone(), response(&pieces), response(&format!("<string>{pieces}</string>"))] {
                if depth(&text) <= DEPTH_LIMIT && let Some(read) = plain_answer::read(&text) {
                    prop_assert_eq!(Some(read), general(&text));
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..2000)) {
            drop(decode(&body));
        }

        #[test]
        fn any_pieces_are_read_without_a_panic(pieces in pieces()) {
            drop(decode(pieces.as_bytes()));
            drop(decoded(&pieces));
        }

        /// An answer that was cut or changed on the way.
        #[test]
        fn a_broken_answer_is_read_without_a_panic(at in 0_usize..400, byte: u8, cut: bool) {
            let mut body = response("<array><data><value><struct><member><name>pid</name><value><int>1</int></value></member></struct></value></data></array>").into_bytes();
            let at = at % body.len();
            if cut { body.truncate(at) } else { body[at] = byte }
            drop(decode(&body));
        }

        #[test]
        fn what_is_written_is_read_again(text in "[^\u{0}-\u{1f}\u{7f}\r]{0,40}", number: i32, yes: bool) {
            let xml = |value: Value| dxr::MethodResponse { value }.to_xml().expect("xml");
            prop_assert_eq!(decode(xml(Value::Integer(number)).as_bytes()), Ok(Value::Integer(number)));
            prop_assert_eq!(decode(xml(Value::Boolean(yes)).as_bytes()), Ok(Value::Boolean(yes)));
            prop_assert_eq!(decode(xml(Value::String(text.clone())).as_bytes()), Ok(Value::String(text)));
        }
    }
}
