//! The query of a request: parameters that say which sessions are meant, and others that say what to do with them.
//!
//! Everything is checked before anything is read or changed. A parameter that is unknown, given twice or without a
//! valid value is an error that names it, its value and what is allowed.

use super::filter::{BadParameter, Filter, PARAMETERS, Parameter, digits};

/// A query that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Which sessions are meant.
    pub filter: Filter,
    others: Vec<(&'static str, String)>,
}

impl Query {
    /// Reads the parameters of a query. `others` are the names that are allowed beside those of the filter. An
    /// underscore in a name is as good as a hyphen.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn parse(pairs: &[(String, String)], others: &[&'static str]) -> Result<Query, BadParameter> {
        Query::read(pairs, others, PARAMETERS)
    }

    /// The same for a request that is not about sessions.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn parse_without_filter(
        pairs: &[(String, String)],
        names: &[&'static str],
    ) -> Result<Query, BadParameter> {
        Query::read(pairs, names, &[])
    }

    fn read(
        pairs: &[(String, String)],
        others: &[&'static str],
        filters: &[Parameter],
    ) -> Result<Query, BadParameter> {
        let mut query = Query::default();
        let mut seen = Vec::new();
        for (name, value) in pairs {
            let name = name.replace('_', "-");
            if seen.contains(&name) {
                return Err(BadParameter::new(&name, "it is given twice: give it once"));
            }
            match others.iter().find(|other| **other == name) {
                Some(other) => query.others.push((other, value.clone())),
                None if filters.iter().any(|parameter| parameter.name == name) => {
                    query.filter.set(&name, value)?;
                }
                None => {
                    let names = others.iter().copied().chain(filters.iter().map(|parameter| parameter.name));
                    let names: Vec<_> = names.collect();
                    let problem = format!("there is no such parameter: choose from {}", names.join(", "));
                    return Err(BadParameter::new(&name, problem));
                }
            }
            seen.push(name);
        }
        Ok(query)
    }

    /// The value of one of the other parameters, if it is given.
    ///
    /// # Errors
    /// `parse` does not take it.
    pub fn get<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, BadParameter> {
        let given = self.others.iter().find(|(other, _)| *other == name);
        given.map(|(_, value)| parse(value).map_err(|problem| BadParameter::new(name, problem))).transpose()
    }

    /// The value of `limit`.
    ///
    /// # Errors
    /// It is not a number.
    pub fn limit(&self) -> Result<Option<u64>, BadParameter> {
        self.get("limit", |text| {
            digits(text).ok_or_else(|| format!("{text:?} is not a number of lines: write 0 or more"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &[(&str, &str)]) -> Result<Query, BadParameter> {
        let pairs: Vec<_> = query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Query::parse(&pairs, &["limit", "by"])
    }

    #[test]
    fn a_query_is_a_filter_and_what_to_do_with_it() {
        let query = parse(&[("proto", "tcp"), ("limit", "7"), ("older_than", "5m")]).unwrap();
        assert_eq!(query.limit(), Ok(Some(7)));
        assert_eq!(query.get("by", |text| Ok(text.len())), Ok(None));
        let mut filter = Filter::default();
        filter.set("proto", "tcp").unwrap();
        filter.set("older-than", "5m").unwrap();
        assert_eq!(query.filter, filter);
    }

    #[test]
    fn a_parameter_that_is_wrong_is_named_with_its_value_and_what_is_allowed() {
        let error = |query: &[(&str, &str)]| {
            let error = parse(query).and_then(|query| query.limit()).unwrap_err();
            (error.name.clone(), error.to_string())
        };
        let (name, text) = error(&[("limit", "-1")]);
        assert_eq!((name.as_str(), text.contains("\"-1\"")), ("limit", true), "{text}");
        let (name, text) = error(&[("dport", "http")]);
        assert_eq!((name.as_str(), text.contains("\"http\"")), ("dport", true), "{text}");
        let (name, text) = error(&[("ports", "1")]);
        assert_eq!((name.as_str(), text.contains("limit, by, proto, state")), ("ports", true), "{text}");
        assert!(error(&[("src", "10.0.0.1"), ("src", "10.0.0.2")]).1.contains("given twice"));
    }
}
