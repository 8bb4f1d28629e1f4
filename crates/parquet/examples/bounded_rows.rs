//! How many rows of short and of long texts are decoded at a time:
//! `cargo run --release --example bounded_rows`.

use std::error::Error;
use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use plw_parquet::{check_footer, rows_at_a_time};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join("plw-parquet-example");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("texts.parquet");
    for length in [10, 1 << 20, 20 << 20] {
        let text = "x".repeat(length);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![text.as_str(); 20]));
        let batch = RecordBatch::try_from_iter([("text", texts)])?;
        let properties = WriterProperties::builder().set_dictionary_page_size_limit(1 << 30);
        let mut writer = ArrowWriter::try_new(
            File::create(&path)?,
            batch.schema(),
            Some(properties.build()),
        )?;
        writer.write(&batch)?;
        writer.close()?;

        let file = File::open(&path)?;
        check_footer(&file)?;
        let metadata = SerializedFileReader::new(file.try_clone()?)?
            .metadata()
            .clone();
        let rows = rows_at_a_time(&file, metadata.row_group(0), 0..1, 1024)?;
        println!("texts of {length} bytes: {rows} rows at a time");
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
