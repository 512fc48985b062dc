namespace KeyVa.Indexes;

/// <summary>Adds what a record is to be found by.</summary>
/// <param name="key">The record's key.</param>
/// <param name="value">The record's value.</param>
/// <param name="entries">Takes the tuples.</param>
public delegate void ExtractEntries(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, IndexEntries entries);

/// <summary>
/// A function that reads values for indexes, where they are no JSON. The store knows it by name and version: a function that
/// would find other entries in the same record is a new version, and indexes of the old one are made anew.
/// </summary>
/// <param name="Name">Its name, as <see cref="IndexDefinition.Extractor"/> says it.</param>
/// <param name="Version">Its version.</param>
/// <param name="Extract">
/// The function. It depends on its arguments alone (it is called again after a crash, and must find the same), may be called on
/// several threads at once, and does not call the store. If it throws, the record counts as one that cannot be indexed.
/// </param>
public sealed record IndexExtractor(string Name, int Version, ExtractEntries Extract);
