using System.Buffers;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace KeyVa.Merges;

/// <summary><see cref="MergeFunction.SetUnion"/>. Stateless.</summary>
internal sealed class SetUnionMerge : MergeFunction
{
    public override string Name => "set-union";

    internal override int Number => 7;

    public override string? Merge(in MergeInput input, IBufferWriter<byte> result)
    {
        using JsonDocument? operand = JsonText.Parse(input.Operand, out string? wrong);
        if (operand is not { RootElement.ValueKind: JsonValueKind.Array })
        {
            return $"the operand is no JSON array: {wrong ?? "it is a JSON text of another kind"}";
        }

        using JsonDocument? existing = input.Exists ? JsonText.Parse(input.Existing, out wrong) : null;
        if (input.Exists && existing is not { RootElement.ValueKind: JsonValueKind.Array })
        {
            return $"the key's value is no JSON array: {wrong ?? "it is a JSON text of another kind"}";
        }

        try
        {
            var seen = new HashSet<string>(StringComparer.Ordinal);
            using Utf8JsonWriter json = JsonText.Write(result);
            json.WriteStartArray();
            if (existing is not null)
            {
                Add(json, existing.RootElement, seen);
            }

            Add(json, operand.RootElement, seen);
            json.WriteEndArray();
            return null;
        }
        catch (InvalidOperationException)
        {
            return "a text, in the operand or in the key's value, is no valid Unicode";
        }
    }

    private static void Add(Utf8JsonWriter json, JsonElement array, HashSet<string> seen)
    {
        foreach (JsonElement element in array.EnumerateArray())
        {
            if (seen.Add(CanonicalJson.Of(element)))
            {
                json.WriteRawValue(JsonMarshal.GetRawUtf8Value(element), skipInputValidation: true);
            }
        }
    }
}
