using System.Text;
using System.Text.Json;
using KeyVa.Indexes;
using Xunit;

namespace KeyVa.Tests.Indexes;

/// <summary>What indexes should hold, found again from the records by other means: a document model and LINQ.</summary>
internal static class IndexOracle
{
    public static readonly IndexDefinition City = new() { Name = "city", Fields = ["c"] };
    public static readonly IndexDefinition CityNumber = new() { Name = "city-number", Fields = ["c", "n.v"], Sparse = true };
    public static readonly IndexDefinition Tags = new() { Name = "tags", Fields = ["t[*]", "n['v']"] };
    public static readonly IndexDefinition Unique = new() { Name = "unique", Fields = ["u"], Unique = true };

    public static readonly IndexDefinition[] All = [City, CityNumber, Tags, Unique];

    /// <summary>The entries of one record: its values as text, and its key.</summary>
    public static IEnumerable<string> EntriesOf(string index, string key, string value)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(value);
        }
        catch (JsonException)
        {
            yield break;
        }

        using (document)
        {
            JsonElement root = document.RootElement;
            string? city = Member(root, "c");
            string? number = root.TryGetProperty("n", out JsonElement n) && n.ValueKind == JsonValueKind.Object ? Member(n, "v") : null;
            switch (index)
            {
                case "city":
                    yield return $"{city ?? "null"}|{key}";
                    break;
                case "city-number" when city is not null && number is not null:
                    yield return $"{city}, {number}|{key}";
                    break;
                case "tags":
                    foreach (string tag in TagsOf(root).Distinct())
                    {
                        yield return $"{tag}, {number ?? "null"}|{key}";
                    }

                    break;
                case "unique":
                    yield return $"{Member(root, "u") ?? "null"}|{key}";
                    break;
            }
        }
    }

    /// <summary>Compares every index that is there with the records of the store, read by a scan. Nothing else is going on.</summary>
    public static async Task Check(Store store, string context)
    {
        var records = new List<(string Key, string Value)>();
        using (ScanCursor cursor = store.Scan(new ScanOptions { Unordered = true }))
        {
            Assert.Equal(Status.Ok, cursor.Status);
            while (cursor.MoveNext())
            {
                records.Add((Encoding.UTF8.GetString(cursor.Key), Encoding.UTF8.GetString(cursor.Value)));
            }
        }

        foreach (IndexInfo info in await store.Indexes.ListAsync())
        {
            if (info.State == IndexState.Dropping)
            {
                continue;
            }

            string name = info.Definition.Name;
            IndexResult ready = await store.Indexes.WaitAsync(name);
            Assert.True(ready.IsOk, $"{context}: index {name}: {ready.Detail}");
            List<string> expected = [.. records.SelectMany(record => EntriesOf(name, record.Key, record.Value)).Order(StringComparer.Ordinal)];
            List<string> found = Entries(store, new IndexQuery { Index = name }, records);
            AssertOrdered(store, name);
            found.Sort(StringComparer.Ordinal);
            Assert.True(expected.SequenceEqual(found), $"{context}: index {name}: expected [{string.Join("; ", expected.Except(found).Take(5))}] more and [{string.Join("; ", found.Except(expected).Take(5))}] less; {expected.Count} and {found.Count}");
            long broken = records.LongCount(static record => !IsObject(record.Value));
            IndexInfo now = (await store.Indexes.ListAsync()).Single(other => other.Definition.Name == name);
            Assert.True(broken == now.Unindexed, $"{context}: index {name} counts {now.Unindexed} records that it cannot read instead of {broken}");
        }
    }

    /// <summary>The answer of a query: values as text, and key.</summary>
    public static List<string> Entries(Store store, IndexQuery query, List<(string Key, string Value)>? records = null)
    {
        Dictionary<string, string>? values = records?.ToDictionary(static record => record.Key, static record => record.Value);
        using IndexCursor cursor = store.Query(query);
        Assert.True(cursor.Status == Status.Ok, cursor.Detail);
        var entries = new List<string>();
        while (cursor.MoveNext())
        {
            string key = Encoding.UTF8.GetString(cursor.Key);
            entries.Add($"{string.Join(", ", cursor.Fields)}|{key}");
            if (values is not null)
            {
                Assert.Equal(values[key], Encoding.UTF8.GetString(cursor.Value));
            }
        }

        return entries;
    }

    private static bool IsObject(string value) => value.StartsWith('{');

    private static void AssertOrdered(Store store, string name)
    {
        using IndexCursor cursor = store.Query(new IndexQuery { Index = name, KeysOnly = true });
        byte[] before = [];
        while (cursor.MoveNext())
        {
            Assert.True(cursor.ResumeToken.SequenceCompareTo(before) > 0);
            before = cursor.ResumeToken.ToArray();
        }
    }

    private static string? Member(JsonElement element, string name) => element.TryGetProperty(name, out JsonElement value) ? Text(value) : null;

    private static string Text(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => IndexValue.From(value.GetString()).ToString(),
        JsonValueKind.Number => IndexValue.From(value.GetDecimal()).ToString(),
        _ => value.GetRawText(),
    };

    private static IEnumerable<string> TagsOf(JsonElement root)
    {
        bool any = false;
        if (root.TryGetProperty("t", out JsonElement tags) && tags.ValueKind == JsonValueKind.Array)
        {
            foreach (JsonElement tag in tags.EnumerateArray())
            {
                any = true;
                yield return Text(tag);
            }
        }

        if (!any)
        {
            yield return "null";
        }
    }
}
