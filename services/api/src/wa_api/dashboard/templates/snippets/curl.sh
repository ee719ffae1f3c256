# Send text message
curl -X POST http://localhost:3000/api/messages/send \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer YOUR_TOKEN_HERE" \
  -d '{"to": "919876543210", "type": "text", "message": "Hello!"}'

# Send image with caption
curl -X POST http://localhost:3000/api/messages/send \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer YOUR_TOKEN_HERE" \
  -d '{
    "to": "919876543210",
    "type": "image",
    "mediaUrl": "https://example.com/photo.jpg",
    "message": "Check this!"
  }'

# Send document
curl -X POST http://localhost:3000/api/messages/send \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer YOUR_TOKEN_HERE" \
  -d '{
    "to": "919876543210",
    "type": "document",
    "mediaUrl": "https://example.com/file.pdf",
    "fileName": "report.pdf",
    "message": "Here is the report"
  }'
