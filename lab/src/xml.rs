//! XML-RPC values in the form that Python's `xmlrpc.client` writes, which is what supervisord sends.
//!
//! Invariants: only `&`, `<` and `>` are escaped. Control characters are sent unchanged, though XML does not allow them;
//! clients must handle that.

use std::fmt::Write as _;

use dxr::Value;

use crate::rpcfault::RpcFault;

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
}

fn value(v: &Value, out: &mut String) {
    out.push_str("<value>");
    match v {
        Value::Integer(i) => {
            // Writing to a String cannot fail.
            let _ok = write!(out, "<int>{i}</int>").is_ok();
        }
        Value::Boolean(b) => out.push_str(if *b { "<boolean>1</boolean>" } else { "<boolean>0</boolean>" }),
        Value::String(s) => {
            out.push_str("<string>");
            escape(s, out);
            out.push_str("</string>");
        }
        Value::Struct(members) => {
            out.push_str("<struct>\n");
            for (name, v) in members {
                out.push_str("<member>\n<name>");
                escape(name, out);
                out.push_str("</name>\n");
                value(v, out);
                out.push_str("</member>\n");
            }
            out.push_str("</struct>");
        }
        Value::Array(items) => {
            out.push_str("<array><data>\n");
            for v in items {
                value(v, out);
            }
            out.push_str("</data></array>");
        }
        // supervisord sends no other kind, but dxr's enum may grow.
        Value::Double(_) | Value::DateTime(_) | Value::Base64(_) | _ => {
            out.push_str("<string></string>");
        }
    }
    out.push_str("</value>\n");
}

/// The body of a reply.
pub(crate) fn response(answer: &Result<Value, RpcFault>) -> String {
    let mut out = String::from("<?xml version='1.0'?>\n<methodResponse>\n");
    match answer {
        Ok(v) => {
            out.push_str("<params>\n<param>\n");
            value(v, &mut out);
            out.push_str("</param>\n</params>\n");
        }
        Err(fault) => {
            out.push_str("<fault>\n");
            let members = [
                ("faultCode".to_owned(), Value::Integer(fault.code)),
                ("faultString".to_owned(), Value::String(fault.text.clone())),
            ];
            value(&Value::Struct(members.into()), &mut out);
            out.push_str("</fault>\n");
        }
    }
    out.push_str("</methodResponse>\n");
    out
}

/// A value in readable form, for the record of calls.
pub(crate) fn show(v: &Value) -> String {
    match v {
        Value::Integer(i) => i.to_string(),
        Value::Boolean(b) => b.to_string(),
        Value::String(s) => format!("{s:?}"),
        Value::Double(d) => d.to_string(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(show).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Struct(members) => {
            let members: Vec<_> = members.iter().map(|(k, v)| format!("{k}: {}", show(v))).collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::DateTime(_) | Value::Base64(_) | _ => format!("{v:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpcfault::code;

    #[test]
    fn replies_are_written_as_supervisord_writes_them() {
        assert_eq!(
            response(&Ok(Value::Boolean(true))),
            "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n\
             <value><boolean>1</boolean></value>\n</param>\n</params>\n</methodResponse>\n"
        );
        let fault = response(&Err(RpcFault::new(code::BAD_NAME, "no<pe")));
        assert!(fault.contains("<value><int>10</int></value>"));
        assert!(fault.contains("<string>BAD_NAME: no&lt;pe</string>"));
        assert!(dxr::FaultResponse::from_xml(&fault).is_ok());
    }
}
