//! Records of runs become statistics, tables, figures and one HTML page.
