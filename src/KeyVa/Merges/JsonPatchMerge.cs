using System.Buffers;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace KeyVa.Merges;

/// <summary>
/// <see cref="MergeFunction.JsonMergePatch"/>: RFC 7396, section 2. Stateless; the recursion is bounded by <see cref="JsonText.MaxDepth"/>.
/// </summary>
/// <remarks>
/// What the patch does not touch is copied as it stands in the value, byte by byte: numbers beyond a double, and escapes,
/// stay what they are. Members are found by a table, so that no patch costs more than in proportion to both texts.
/// </remarks>
internal sealed class JsonPatchMerge : MergeFunction
{
    public override string Name => "json-merge-patch";

    internal override int Number => 6;

    public override string? Merge(in MergeInput input, IBufferWriter<byte> result)
    {
        using JsonDocument? patch = JsonText.Parse(input.Operand, out string? wrong);
        if (patch is null)
        {
            return $"the operand is no JSON: {wrong}";
        }

        using JsonDocument? target = input.Exists ? JsonText.Parse(input.Existing, out wrong) : null;
        if (input.Exists && target is null)
        {
            return $"the key's value is no JSON: {wrong}";
        }

        try
        {
            using Utf8JsonWriter json = JsonText.Write(result);
            Write(json, target?.RootElement, patch.RootElement);
            return null;
        }
        catch (InvalidOperationException)
        {
            return "the name of a member, in the operand or in the key's value, is no valid Unicode";
        }
    }

    private static void Write(Utf8JsonWriter json, JsonElement? target, JsonElement patch)
    {
        if (patch.ValueKind != JsonValueKind.Object)
        {
            Copy(json, patch);
            return;
        }

        OrderedDictionary<string, JsonElement> changes = JsonText.Members(patch);
        json.WriteStartObject();
        if (target is { ValueKind: JsonValueKind.Object } present)
        {
            foreach ((string name, JsonElement value) in JsonText.Members(present))
            {
                if (!changes.TryGetValue(name, out JsonElement change))
                {
                    json.WritePropertyName(name);
                    Copy(json, value);
                    continue;
                }

                // Null stands for done: what is left is new.
                changes[name] = default;
                if (change.ValueKind != JsonValueKind.Null)
                {
                    json.WritePropertyName(name);
                    Write(json, value, change);
                }
            }
        }

        foreach ((string name, JsonElement change) in changes)
        {
            if (change.ValueKind is not (JsonValueKind.Null or JsonValueKind.Undefined))
            {
                json.WritePropertyName(name);
                Write(json, null, change);
            }
        }

        json.WriteEndObject();
    }

    private static void Copy(Utf8JsonWriter json, JsonElement value) =>
        json.WriteRawValue(JsonMarshal.GetRawUtf8Value(value), skipInputValidation: true);
}
